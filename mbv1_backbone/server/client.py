"""A client of the service in Python: a method a route, with the answers as objects."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from pydantic import BaseModel, ValidationError

from mbv1_backbone.common.errors import InputError, Mbv1Error, UnavailableError
from mbv1_backbone.common.images import read_file
from mbv1_backbone.server import schemas

__all__ = ['Client', 'ImageFile', 'ServiceError']

ImageFile = str | os.PathLike[str] | bytes
Answer = TypeVar('Answer', bound=BaseModel)


class ServiceError(Mbv1Error):
    """A refusal of the service.

    Attributes:
        status: Of HTTP.
        code: One word, e.g. ``invalid``, ``overloaded``, ``absent``.
        field: Which part of the request it is about, where it is one.
        failures: Why each image could not be used, where none could.
        retry_after: Seconds after which to ask again, where the service says so.
    """

    def __init__(self, status: int, error: schemas.ErrorBody, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.code = error.code
        self.field = error.field
        self.failures = error.failures
        self.retry_after = retry_after


class Client:
    """Asks a service of ``mbv1 serve``. Threads may share one.

    Args:
        url: Of the service, e.g. ``http://127.0.0.1:8000``.
        key: Of ``mbv1 serve-keys``, where it asks for one.
        timeout: Seconds to wait for an answer.
        ca: File of certificates to trust in place of the system's.

    Raises:
        InputError: If the URL is none of HTTP, or the file cannot be read.

    Example:
        >>> client = Client('http://127.0.0.1:8000')  # doctest: +SKIP
        >>> client.detect(['a.jpg']).results[0].objects  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 60.0,
        ca: str | os.PathLike[str] | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ('http', 'https') or not urlsplit(url).hostname:
            raise InputError(f'url must be http://HOST:PORT or https://HOST:PORT, got {url!r:.100}')
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise InputError(f'{ca}: {error.strerror or error}') from error
        self.url = url.rstrip('/')
        self.timeout = timeout
        self._key = key
        # a key is for this host alone: no proxy of the environment, no redirection
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), _NoRedirection)

    # --- images

    def detect(self, images: ImageFile | Iterable[ImageFile], score: float = 0.3) -> schemas.Detected:
        """Objects in images: files, or their bytes; a single one is the same as a list of one."""
        return self._images(schemas.Detected, '/v1/detect', images, dict(score=score))

    def picture(self, image: ImageFile, score: float = 0.3) -> bytes:
        """An image with the objects drawn on it, as a PNG file."""
        return self._send('POST', '/v1/detect/picture', dict(score=score), *_form([image], {}))

    def classify(self, images: ImageFile | Iterable[ImageFile], top: int = 5) -> schemas.Classified:
        """The likeliest classes of images."""
        return self._images(schemas.Classified, '/v1/classify', images, dict(top=top))

    def embed(self, images: ImageFile | Iterable[ImageFile], policy: str = 'largest') -> schemas.Embedded:
        """Embeddings of faces; ``policy`` says which of several: ``largest``, ``all`` or ``reject``."""
        return self._images(schemas.Embedded, '/v1/embed', images, dict(policy=policy))

    # --- faces

    def faces(self, images: ImageFile | Iterable[ImageFile], policy: str = 'all') -> schemas.FacesFound:
        """The faces of images."""
        return self._images(schemas.FacesFound, '/v1/faces/detect', images, dict(policy=policy))

    def search(
        self,
        images: ImageFile | Iterable[ImageFile],
        k: int = 5,
        policy: str = 'all',
        by: str = 'entry',
        threshold: float | None = None,
        all: bool = False,
        identity: Sequence[str] | None = None,
    ) -> schemas.Searched:
        """Who is on images.

        Args:
            images: Files, or their bytes.
            k: Matches of a face, at most.
            policy: Of several faces.
            by: ``entry``, or people by the ``best`` or ``mean`` score of theirs.
            threshold: Lowest score; None for the calibrated one.
            all: No threshold.
            identity: Among these people only.
        """
        values = dict(k=k, policy=policy, by=by, threshold=threshold, all=all, identity=identity)
        return self._images(schemas.Searched, '/v1/faces/search', images, values)

    def enrol(
        self,
        images: ImageFile | Iterable[ImageFile],
        identity: str | None = None,
        policy: str = 'largest',
        min_quality: float = 0.0,
        at: tuple[float, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> schemas.Enrolled:
        """Add faces to the gallery.

        Args:
            images: Files, or their bytes.
            identity: Whose faces; None gives each a name of its own, for ``cluster``.
            policy: Of several faces.
            min_quality: Faces of a lower one are left out, 0..1.
            at: The face at this point, x and y in pixels, of a single image.
            metadata: Free values of each entry.
        """
        x, y = at or (None, None)
        fields = {} if identity is None else dict(identity=identity)
        if metadata is not None:
            fields['metadata'] = json.dumps(metadata)
        values = dict(policy=policy, min_quality=min_quality, x=x, y=y)
        return self._images(schemas.Enrolled, '/v1/faces/enrol', images, values, fields)

    # --- the gallery

    def people(self, limit: int = 100, after: str | None = None, kind: str | None = None) -> schemas.People:
        """People by name, a page.

        Args:
            limit: People, at most.
            after: ``next`` of the page before.
            kind: ``named`` people, ``group`` or ``alone`` faces that nobody has named; None for all.
        """
        values = dict(limit=limit, after=after, kind=kind)
        return self._get(schemas.People, '/v1/faces/people', values)

    def entries(self, identity: str | None = None, limit: int = 100, after: int = 0) -> schemas.Entries:
        """Entries by number, a page.

        Args:
            identity: Of this person only.
            limit: Entries, at most.
            after: ``next`` of the page before.
        """
        values = dict(identity=identity, limit=limit, after=after)
        return self._get(schemas.Entries, '/v1/faces/entries', values)

    def entry(self, id: int) -> schemas.EntryOut:
        """An entry."""
        return self._get(schemas.EntryOut, f'/v1/faces/entries/{id:d}')

    def thumbnail(self, id: int) -> bytes:
        """The picture of an entry's face, a JPEG file, where the service kept one."""
        return self._send('GET', f'/v1/faces/entries/{id:d}/thumbnail')

    def remove_entry(self, id: int) -> int:
        """Remove an entry."""
        content = self._send('DELETE', f'/v1/faces/entries/{id:d}')
        return _read(schemas.Changed, content).entries

    def remove(self, identity: str) -> int:
        """Remove all entries of a person; says how many these were."""
        return self._post(schemas.Changed, 'remove', identity=identity).entries

    def rename(self, identity: str, new: str) -> int:
        """Give a person another name; says how many entries that person has."""
        return self._post(schemas.Changed, 'rename', identity=identity, new=new).entries

    def merge(self, identities: Sequence[str], into: str) -> int:
        """Make several names one person's; says how many entries have got the name."""
        return self._post(schemas.Changed, 'merge', identities=list(identities), into=into).entries

    def not_this(self, ids: Sequence[int], identity: str | None = None) -> int:
        """Say that entries do not show their person, and whom they show where that is known."""
        return self._post(schemas.Changed, 'not-this', ids=list(ids), identity=identity).entries

    def split(self, ids: Sequence[int], identity: str | None = None) -> str:
        """Say that some entries of a person or group are another's, all the same one's; gives their name."""
        return self._post(schemas.Person, 'split', ids=list(ids), identity=identity).identity

    def cluster(self, threshold: float | None = None) -> schemas.Clustered:
        """Group the faces that nobody has named."""
        return self._post(schemas.Clustered, 'cluster', threshold=threshold)

    def calibrate(self, fpir: float) -> schemas.Calibrated:
        """Compute and store the threshold for a rate of false positives."""
        return self._post(schemas.Calibrated, 'calibrate', fpir=fpir)

    def curve(self, points: int = 200) -> schemas.CurveOut:
        """False positives and right names at so many thresholds, at most."""
        return self._get(schemas.CurveOut, '/v1/faces/curve', dict(points=points))

    def forget_thumbnails(self) -> int:
        """Erase the pictures of all faces; says how many there were."""
        return self._post(schemas.Changed, 'forget-thumbnails').entries

    def stats(self) -> dict[str, Any]:
        """Counts, index, sizes and threshold."""
        told: dict[str, Any] = json.loads(self._send('GET', '/v1/faces/stats'))
        return told

    def backup(self) -> schemas.Backup:
        """Copy the gallery on the server."""
        return self._post(schemas.Backup, 'backup')

    # --- the service

    def ready(self) -> bool:
        """Whether it takes another request now."""
        try:
            return self._get(schemas.State, '/v1/ready').status == 'ready'
        except (ServiceError, UnavailableError):
            return False

    def models(self) -> schemas.Models:
        """Its networks."""
        return self._get(schemas.Models, '/v1/models')

    def card(self, role: str) -> str:
        """The card of a network, in Markdown."""
        return self._send('GET', f'/v1/models/{quote(role, safe="")}/card').decode()

    def metrics(self) -> str:
        """Its counts, in the text form of Prometheus."""
        return self._send('GET', '/v1/metrics').decode()

    # --- HTTP

    def _get(self, kind: type[Answer], path: str, values: Mapping[str, Any] | None = None) -> Answer:
        return _read(kind, self._send('GET', path, values or {}))

    def _post(self, kind: type[Answer], verb: str, **body: Any) -> Answer:
        content = json.dumps(body).encode()
        return _read(kind, self._send('POST', f'/v1/faces/{verb}', {}, content, 'application/json'))

    def _images(
        self,
        kind: type[Answer],
        path: str,
        images: ImageFile | Iterable[ImageFile],
        values: Mapping[str, Any],
        fields: Mapping[str, str] | None = None,
    ) -> Answer:
        several = [images] if isinstance(images, str | os.PathLike | bytes) else list(images)
        return _read(kind, self._send('POST', path, values, *_form(several, fields or {})))

    def _send(
        self,
        method: str,
        path: str,
        values: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str = '',
    ) -> bytes:
        """The body of an answer.

        Raises:
            ServiceError: If the service refuses.
            UnavailableError: If it does not answer.
        """
        given = {key: _text(value) for key, value in (values or {}).items() if value is not None}
        query = f'?{urlencode(given, doseq=True)}' if given else ''
        headers = {'Content-Type': content_type} if content_type else {}
        if self._key is not None:
            headers['Authorization'] = f'Bearer {self._key}'
        request = Request(f'{self.url}{path}{query}', body, headers, method=method)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, 'reason', error)
            raise UnavailableError(f'{self.url}: does not answer: {reason}') from error


class _NoRedirection(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _form(images: Sequence[ImageFile], fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Images and fields as ``multipart/form-data`` (RFC 7578), and its content type."""
    boundary = secrets.token_hex(16)
    parts = []
    for name, value in fields.items():
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        )
    for image in images:
        content = image if isinstance(image, bytes) else read_file(image)
        file = '' if isinstance(image, bytes) else _quoted(Path(image).name)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{file}"\r\n\r\n'
        parts += [head.encode('utf-8', 'replace'), content, b'\r\n']
    return b''.join([*parts, f'--{boundary}--\r\n'.encode()]), f'multipart/form-data; boundary={boundary}'


def _quoted(name: str) -> str:
    """A file's name between quotes, as browsers write it."""
    return name.replace('"', '%22').replace('\r', '%0D').replace('\n', '%0A')


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _read(kind: type[Answer], content: bytes) -> Answer:
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        raise UnavailableError(f'not an answer of mbv1 serve of this version: {content[:80]!r}') from None


def _refusal(error: HTTPError) -> ServiceError:
    content = error.read()
    try:
        body = schemas.Error.model_validate_json(content).error
    except ValidationError:
        body = schemas.ErrorBody(code='unknown', message=f'HTTP status {error.code}')
    after = error.headers.get('Retry-After', '')
    return ServiceError(error.code, body, float(after) if after.isdigit() else None)
