"""Images that clients send: kept in memory, named by nobody but the client, decoded within the limits."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import FORMATS, read_image
from mbv1_backbone.common.prefetch import DECODERS, map_concurrently
from mbv1_backbone.server.limits import Budget, Limits
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.schemas import Failure

__all__ = ['Form', 'Picture', 'Upload', 'decoded', 'read_form']

logging.getLogger('python_multipart').setLevel(logging.ERROR)  # else each damaged form is a line of the log
_FIELD = 'images'
_MAX_TEXT = 64 * 1024  # bytes of a field that is no file
_MAX_NAME = 200  # characters of a file's name that are said again


@dataclass(frozen=True)
class Upload:
    """An image as it was sent.

    Attributes:
        index: Its place in the request.
        name: The client's; for answers alone, it is never a path.
        content: The file's bytes.
    """

    index: int
    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def failure(self, reason: object) -> Failure:
        """Why it cannot be used."""
        return Failure(image=self.index, name=self.name, reason=str(reason))


@dataclass(frozen=True)
class Picture:
    """An image that was decoded.

    Attributes:
        upload: What it was.
        pixels: RGB uint8 (H, W, 3).
    """

    upload: Upload
    pixels: np.ndarray

    def described(self) -> dict[str, int | str]:
        """The values of ``schemas.OfImage``."""
        height, width = self.pixels.shape[:2]
        return dict(image=self.upload.index, name=self.upload.name, width=width, height=height)


@dataclass(frozen=True)
class Form:
    """What a form holds.

    Attributes:
        uploads: Its images, one at least.
        fields: The others, as text.
    """

    uploads: list[Upload]
    fields: dict[str, str]


async def read_form(request: Request, limits: Limits, fields: Sequence[str] = ()) -> Form:
    """Read a request of ``multipart/form-data`` with images; nothing is written to a disk.

    Args:
        request: Its body is within the limits already.
        limits: Of the service.
        fields: Names of the fields that may stand beside the images.

    Raises:
        Refused: If it is no such form, or holds something else, nothing, or too much.
    """
    if not request.headers.get('Content-Type', '').lower().startswith('multipart/form-data'):
        raise Refused(415, 'unsupported', 'body: images are sent as multipart/form-data, in the field images')
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=limits.images,
        max_fields=len(fields),
        max_part_size=_MAX_TEXT,
    )
    parser.spool_max_size = limits.body_bytes + 1
    try:
        data = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, 'invalid', f'body: {error.message}') from None
    try:
        if not parser.ended:
            raise Refused(400, 'invalid', 'body: the form ends before its last boundary')
        return await _form(data, fields)
    finally:
        parser.close()


class _Parser(MultiPartParser):
    """One that knows whether the form came to its end: what is cut off would be left out silently."""

    ended = False

    def on_end(self) -> None:
        """Note it."""
        self.ended = True

    def close(self) -> None:
        """Let go of all files, that of a part that was cut off, too."""
        for file in self._files_to_close_on_error:
            file.close()


async def _form(data: FormData, fields: Sequence[str]) -> Form:
    form = Form([], {})
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            if name != _FIELD:
                raise _unknown(name, (_FIELD,))
            content = await value.read()
            form.uploads.append(Upload(len(form.uploads), _shown(value.filename), content))
        elif name not in fields:
            raise _unknown(name, fields)
        elif name in form.fields:
            raise Refused(422, 'invalid', f'{name}: given twice', name)
        else:
            form.fields[name] = value
    if not form.uploads:
        raise Refused(422, 'invalid', 'images: one file at least is needed', _FIELD)
    return form


def _unknown(name: str, known: Sequence[str]) -> Refused:
    wanted = ', '.join(known) or 'none beside the files of images'
    return Refused(422, 'invalid', f'{name[:60]!r}: no such field, there are: {wanted}')


def _shown(name: str | None) -> str:
    return ''.join(c if c.isprintable() else '?' for c in name or '')[:_MAX_NAME]


@contextmanager
def decoded(
    uploads: Sequence[Upload], limits: Limits, budget: Budget, deadline: float
) -> Iterator[tuple[list[Picture], list[Failure]]]:
    """The images of a request, decoded; their pixels count as long as it lasts.

    Args:
        uploads: Of the request.
        limits: Of the service.
        budget: Of the pixels of all requests.
        deadline: By ``time.monotonic``.

    Raises:
        Refused: If there are more pixels than may be worked on, or not one image can be decoded.
    """
    sizes = [_pixels(upload.content) for upload in uploads]
    # one that its header does not tell the size of may have as many as an image may have
    counts = [limits.image_pixels if size is None else size for size in sizes]
    wanted = sum(count for count in counts if count <= limits.image_pixels)
    with budget.taken(wanted, deadline):
        pictures: list[Picture] = []
        failures: list[Failure] = []

        def decode(upload: Upload) -> Picture | Failure:
            if time.monotonic() > deadline:
                return upload.failure('not decoded in time')
            try:
                return Picture(upload, read_image(upload.content, max_pixels=limits.image_pixels))
            except InputError as error:
                return upload.failure(error)

        for one in map_concurrently(decode, uploads, min(DECODERS, len(uploads))):
            (pictures if isinstance(one, Picture) else failures).append(one)  # type: ignore[arg-type]
        if not pictures:
            raise none_usable(failures)
        yield pictures, failures


def none_usable(failures: Sequence[Failure]) -> Refused:
    """The refusal of a request of which no image can be used."""
    first = failures[0]
    message = f'images: none of {len(failures)} can be used, the first: {first.reason}'
    return Refused(422, 'invalid', message, _FIELD, failures)


def _pixels(content: bytes) -> int | None:
    """Pixels of an image by its header; None where that cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # of Pillow's parsers: any kind; read_image knows more ways, and what to say
        return None
