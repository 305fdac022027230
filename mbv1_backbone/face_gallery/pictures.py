"""Pictures of single faces, cut out of their photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.geometry import crop_box
from mbv1_backbone.face_gallery.sources import FOLDER, entry_path
from mbv1_backbone.retrieval import Entry

__all__ = ['SIDE', 'entry_picture', 'face_picture']

SIDE = 120  # pixels of a face on a contact sheet


def face_picture(path: str | Path, box: Sequence[float] | None) -> np.ndarray:
    """A face of a photograph, RGB uint8: the square about its box, or the whole image.

    Args:
        path: Of the photograph.
        box: (x0, y0, x1, y1) in pixels; None where the image is the face.

    Raises:
        InputError: If the image cannot be read.
    """
    image = read_image(path)
    return image if box is None else crop_box(image, np.asarray(box), SIDE)


def entry_picture(entry: Entry) -> np.ndarray | None:
    """The face of an entry; None where its photograph is not to be had."""
    folder = entry.metadata.get(FOLDER)
    try:
        if isinstance(folder, str):
            return face_picture(entry_path(folder, entry.file), entry.box)
    except InputError:
        pass
    return None
