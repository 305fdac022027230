"""Which face of a photograph is which: by its box, and not to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import Place
from mbv1_backbone.face_gallery.sources import FOLDER, entry_path
from mbv1_backbone.inference.embedder import Embedded, FaceEmbedder
from mbv1_backbone.retrieval import Entry

__all__ = ['SAME', 'embed_entries', 'face_of', 'overlap']

SAME = 0.5  # intersection over union of two boxes of one face, at least


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), 0..1.

    Example:
        >>> overlap((0, 0, 2, 2), (0, 1, 2, 3))
        0.3333333333333333
    """
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def face_of(entry: Entry, places: Sequence[Place]) -> int | None:
    """Which of the faces that were found in its image is an entry's; None where it is none of them.

    Args:
        entry: One without a box is the first face: the image, or its largest one.
        places: Of the faces, the largest first.
    """
    if entry.box is None:
        return 0 if places else None
    shares = [0.0 if place.box is None else overlap(entry.box, place.box) for place in places]
    best = int(np.argmax(shares)) if shares else 0
    return best if shares and shares[best] >= SAME else None


def embed_entries(
    embedder: FaceEmbedder, entries: Sequence[Entry]
) -> tuple[list[np.ndarray | None], dict[str, str]]:
    """Embed the faces of entries anew, from their image files; each file is read once.

    Args:
        embedder: With a finder where entries have boxes, of policy ``all`` where a file has several.
        entries: Their faces are found again by their boxes.

    Returns:
        The embedding of each, None where there is none; and file -> why, in one line.
    """
    lost: dict[str, str] = {}
    paths: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        try:
            path = str(entry_path(str(entry.metadata.get(FOLDER, '.')), entry.file))
        except InputError as error:
            lost[entry.file] = str(error)
            continue
        paths.setdefault(path, []).append(index)
    found = embedder.embed(list(paths))
    vectors: list[np.ndarray | None] = [None] * len(entries)
    for number, mine in enumerate(paths.values()):
        rows = np.flatnonzero(found.sources == number).tolist()
        for index in mine:
            face = face_of(entries[index], [found.places[row] for row in rows])
            if face is None:
                lost[entries[index].file] = _reason(found, number, entries[index])
            else:
                vectors[index] = found.vectors[rows[face]]
    return vectors, lost


def _reason(found: Embedded, number: int, entry: Entry) -> str:
    if number in found.failures:
        return found.failures[number]
    return f'no face is found at the box {entry.box} of entry {entry.id} (--detector, --policy all)'
