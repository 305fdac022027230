"""Faces of sent images against the gallery: search and enrolment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import plain_name
from mbv1_backbone.face.finder import Place
from mbv1_backbone.face_gallery.answers import matches_of
from mbv1_backbone.face_gallery.faces import face_of
from mbv1_backbone.retrieval import Entry, GalleryLike
from mbv1_backbone.retrieval.checks import check_box
from mbv1_backbone.retrieval.records import FOLDER, THUMBNAIL
from mbv1_backbone.retrieval.unnamed import is_alone, is_group, unnamed
from mbv1_backbone.server.schemas import (
    EnrolledFace,
    EntryOut,
    Face,
    Kind,
    MatchOut,
    SearchedFace,
)
from mbv1_backbone.server.thumbnails import make_thumbnail
from mbv1_backbone.server.uploads import Picture
from mbv1_backbone.server.vision import FoundFace

__all__ = ['FacesOf', 'Wanted', 'enrol', 'entry_out', 'face_out', 'kind_of', 'only_at', 'search']

FacesOf = tuple[Picture, list[FoundFace]]  # an image and the faces that were found in it


@dataclass(frozen=True)
class Wanted:
    """How faces are to be enrolled.

    Attributes:
        identity: Whose faces they are; None gives each a name of its own, for ``cluster``.
        min_quality: Faces of a lower one are left out, 0..1.
        metadata: Free values for each entry.
        thumbnails: Whether a small picture of each face is kept with its entry.
    """

    identity: str | None
    min_quality: float
    metadata: Mapping[str, Any]
    thumbnails: bool = False

    def __post_init__(self) -> None:
        if THUMBNAIL in self.metadata:
            raise InputError(f"metadata: {THUMBNAIL} is the place of the service's own picture of a face")
        if FOLDER in self.metadata:
            raise InputError(f'metadata: {FOLDER} is the place of a file, which sent images do not have')


def face_out(place: Place) -> dict[str, Any]:
    """The values of ``schemas.Face``."""
    box = None if place.box is None else tuple(float(value) for value in place.box)
    marks = None if place.landmarks is None else [(float(x), float(y)) for x, y in place.landmarks]
    quality = None if place.quality is None else float(place.quality.value)
    return Face(box=box, landmarks=marks, score=place.score, quality=quality).model_dump()  # type: ignore[arg-type]


def entry_out(entry: Entry) -> EntryOut:
    """An entry as clients see it: without the folder on the server, and without its picture."""
    values = asdict(entry)
    values['metadata'] = {
        key: value for key, value in entry.metadata.items() if key not in (FOLDER, THUMBNAIL)
    }
    return EntryOut(**values, thumbnail=THUMBNAIL in entry.metadata)


def kind_of(identity: str) -> Kind:
    """Whose name it is: a person's, or an automatic one of a group or of a face alone."""
    return 'group' if is_group(identity) else 'alone' if is_alone(identity) else 'named'


def only_at(faces: list[FoundFace], x: float, y: float) -> list[FoundFace]:
    """The smallest face whose box holds a point, or that is the whole image.

    Args:
        faces: Of one image.
        x: In pixels from the left.
        y: In pixels from the top.

    Raises:
        InputError: If there is none.
    """
    there = [
        face
        for face in faces
        if (box := face[1].box) is None or (box[0] <= x <= box[2] and box[1] <= y <= box[3])
    ]
    if not there:
        raise InputError(f'no face found at {x:g}, {y:g}')

    def area(face: FoundFace) -> float:
        box = face[1].box
        return np.inf if box is None else (box[2] - box[0]) * (box[3] - box[1])

    return [min(there, key=area)]


def search(
    gallery: GalleryLike, found: Sequence[FacesOf], vectors: np.ndarray, k: int, **options: Any
) -> list[list[SearchedFace]]:
    """Whom the gallery takes the faces of images for.

    Args:
        gallery: Of the vectors' model.
        found: Images with their faces.
        vectors: (N, dimension) of all faces, in order.
        k: Matches of each, at most.
        options: Of ``matches_of``.

    Raises:
        InputError: If an option is wrong.
    """
    matches, nearest = matches_of(gallery, vectors, k, **options)
    rows = iter(zip(matches, nearest, strict=True))
    answers = []
    for _, faces in found:
        mine = []
        for _, place in faces:
            some, first = next(rows)
            mine.append(
                SearchedFace(
                    **face_out(place),
                    matches=[MatchOut(**asdict(match)) for match in some],
                    nearest=None if first is None else MatchOut(**asdict(first)),
                )
            )
        answers.append(mine)
    return answers


def enrol(
    gallery: GalleryLike, found: Sequence[FacesOf], vectors: np.ndarray, wanted: Wanted
) -> list[list[EnrolledFace]]:
    """Add the faces of images to the gallery, in one change; faces that it has stay as they are.

    An entry's ``file`` is made of the image's SHA-256; of its content a thumbnail is kept, or nothing.

    Args:
        gallery: Of the vectors' model.
        found: Images with their faces.
        vectors: (N, dimension) of all faces, in order.
        wanted: How.

    Returns:
        What became of each image's faces.

    Raises:
        InputError: If a value is wrong, or faces of one image are to be one person's.
        LockedError: If another writer is at work.
        NoSpaceError: If the disk is full.
    """
    hashes = [picture.upload.sha256 for picture, _ in found]
    there = gallery.faces(hashes)
    places = [(number, place) for number, (_, faces) in enumerate(found) for _, place in faces]
    states: dict[int, EnrolledFace] = {}
    rows: list[int] = []
    for number, sha256 in enumerate(hashes):
        mine = [row for row, (image, _) in enumerate(places) if image == number]
        known = {
            face: entry
            for entry in there.get(sha256, [])
            if (face := face_of(entry, [places[row][1] for row in mine])) is not None
        }
        for face, row in enumerate(mine):
            place = places[row][1]
            if face in known:
                states[row] = _known(place, known[face], wanted.identity)
            elif place.quality is not None and place.quality.value < wanted.min_quality:
                reason = f'quality {place.quality.value:.2f}, {wanted.min_quality:g} is asked for'
                states[row] = EnrolledFace(**face_out(place), state='left out', reason=reason)
            else:
                rows.append(row)
    if rows:
        pixels = [found[places[row][0]][0].pixels for row in rows] if wanted.thumbnails else None
        _add(gallery, rows, places, hashes, vectors, wanted, states, pixels)
    result: list[list[EnrolledFace]] = [[] for _ in found]
    for row, (number, _) in enumerate(places):
        result[number].append(states[row])
    return result


def _add(
    gallery: GalleryLike,
    rows: Sequence[int],
    places: Sequence[tuple[int, Place]],
    hashes: Sequence[str],
    vectors: np.ndarray,
    wanted: Wanted,
    states: dict[int, EnrolledFace],
    pixels: Sequence[np.ndarray] | None,
) -> None:
    """Add some of the faces, and note what became of them."""
    chosen = [places[row][1] for row in rows]
    mine = [hashes[places[row][0]] for row in rows]
    boxes = [check_box(place.box) for place in chosen]
    name = None if wanted.identity is None else plain_name(wanted.identity)
    names = [name or unnamed(one, box) for one, box in zip(mine, boxes, strict=True)]
    metadata = [dict(wanted.metadata) for _ in rows]
    for values, image, place in zip(metadata, pixels or (), chosen, strict=pixels is not None):
        values[THUMBNAIL] = make_thumbnail(image, place.box)
    added = gallery.add(
        vectors[list(rows)],
        names,
        [f'sent/{one[:16]}' for one in mine],
        mine,
        metadata,
        boxes,
        [place.landmarks for place in chosen],
        [place.score for place in chosen],
        [None if place.quality is None else place.quality.value for place in chosen],
    )
    for row, place, identity, sha256, entry_id in zip(rows, chosen, names, mine, added.ids, strict=True):
        if entry_id is not None:
            states[row] = EnrolledFace(**face_out(place), state='added', id=entry_id, identity=identity)
            continue
        entries = gallery.faces([sha256]).get(sha256, [])
        same = [entry for entry in entries if face_of(entry, [place]) is not None]
        if same:
            states[row] = _known(place, same[0], wanted.identity)
        else:
            reason = f'somebody has said that this face does not show {identity:.60}'
            states[row] = EnrolledFace(**face_out(place), state='left out', reason=reason)


def _known(place: Place, entry: Entry, identity: str | None) -> EnrolledFace:
    other = identity is not None and plain_name(identity) != entry.identity
    reason = 'known under another name, which it keeps' if other else None
    return EnrolledFace(**face_out(place), state='known', id=entry.id, identity=entry.identity, reason=reason)
