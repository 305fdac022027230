"""Small pictures of enrolled faces, kept in their entries' metadata: they go when the entry goes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.face.geometry import crop_box, fit_square
from mbv1_backbone.retrieval import Entry, GalleryLike
from mbv1_backbone.retrieval.records import THUMBNAIL

__all__ = ['SIDE', 'forget_thumbnails', 'make_thumbnail', 'thumbnail_of']

SIDE = 112  # pixels


def make_thumbnail(image: np.ndarray, box: Sequence[float] | None) -> str:
    """A face as a JPEG file in base64.

    Args:
        image: RGB uint8 (H, W, 3).
        box: (x1, y1, x2, y2) of the face in pixels; None where the image is the face.
    """
    face = fit_square(image, SIDE) if box is None else crop_box(image, np.asarray(box), SIDE)
    file = io.BytesIO()
    Image.fromarray(face).save(file, format='JPEG', quality=80)
    return base64.b64encode(file.getvalue()).decode('ascii')


def thumbnail_of(entry: Entry) -> bytes | None:
    """The JPEG file of an entry; None where there is none.

    Raises:
        DamagedFileError: If what the entry has is no such file.
    """
    text = entry.metadata.get(THUMBNAIL)
    if text is None:
        return None
    try:
        content = base64.b64decode(str(text), validate=True)
    except ValueError:  # binascii.Error is one
        content = b''
    if not content.startswith(b'\xff\xd8\xff'):
        raise DamagedFileError(f'entry {entry.id}: its {THUMBNAIL} is no JPEG file')
    return content


def forget_thumbnails(gallery: GalleryLike) -> int:
    """Erase the thumbnails of all entries, which stay otherwise as they are; says how many had one.

    Raises:
        InputError: If the gallery is open for reading only, or an entry is damaged.
    """
    return gallery.remove_metadata(THUMBNAIL)
