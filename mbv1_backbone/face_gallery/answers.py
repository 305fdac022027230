"""From probes to what a gallery says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.face.evaluation.drawing import BAD, GOOD, Tile, contact_sheet
from mbv1_backbone.face_gallery.pictures import entry_picture, face_picture
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import GalleryLike
from mbv1_backbone.retrieval.records import Match

__all__ = ['Answer', 'ask', 'draw_answers', 'matches_of']


@dataclass(frozen=True)
class Answer:
    """What a gallery says of a face.

    Attributes:
        probe: The image file.
        matches: By descending score; none where nobody reaches the threshold: unknown.
        nearest: The most alike entry, whatever its score; None of an empty gallery.
        box: Of the face in the image, (x0, y0, x1, y1) in pixels; None where the image is the face.
    """

    probe: str
    matches: tuple[Match, ...]
    nearest: Match | None
    box: tuple[float, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        nearest = asdict(self.nearest) if self.nearest else None
        return dict(
            probe=self.probe,
            box=self.box,
            matches=[asdict(match) for match in self.matches],
            nearest=nearest,
        )


def ask(
    gallery: GalleryLike,
    embedder: FaceEmbedder,
    probes: Sequence[Path],
    k: int,
    by: str | None = None,
    progress: bool = False,
    threshold: float | str | None = 'calibrated',
    **search: Any,
) -> tuple[list[Answer], dict[str, str]]:
    """Search for the faces of images.

    Args:
        gallery: Of this embedder's model.
        embedder: With a finder of policy ``all``, every face of an image is asked for.
        probes: Image files.
        k: Matches of each face, at most.
        by: ``'best'`` or ``'mean'``: match people, by this score of their images.
        progress: Show a bar.
        threshold: Of ``Gallery.search``.
        search: Other options of it.

    Returns:
        An answer for each face, and for each image without one the reason.

    Raises:
        InputError: If the gallery is of another model, or an option is wrong.
    """
    gallery.check_model(embedder.fingerprint, embedder.preprocessing)
    found = embedder.embed(probes, progress=progress)
    failures = {str(probes[index]): reason for index, reason in found.failures.items()}
    if not len(found):
        return [], failures
    matches, nearest = matches_of(gallery, found.vectors, k, by, threshold, **search)
    answers = [
        Answer(str(probes[source]), mine, first, place.box)
        for source, place, mine, first in zip(found.sources, found.places, matches, nearest, strict=True)
    ]
    return answers, failures


def matches_of(
    gallery: GalleryLike,
    vectors: np.ndarray,
    k: int,
    by: str | None = None,
    threshold: float | str | None = 'calibrated',
    **search: Any,
) -> tuple[list[tuple[Match, ...]], list[Match | None]]:
    """Search for faces that are embedded.

    Args:
        gallery: Of their model.
        vectors: (N, dimension).
        k: Matches of each, at most.
        by: ``'best'`` or ``'mean'``: match people, by this score of their images.
        threshold: Of ``Gallery.search``.
        search: Other options of it.

    Returns:
        Of each its matches, and the most alike entry whatever its score.

    Raises:
        InputError: If an option is wrong.
    """
    with gallery.snapshot():
        matches: Sequence[Sequence[Match]]
        if by is None:
            matches = gallery.search(vectors, k, threshold, **search)
        else:
            people = gallery.search_identities(vectors, k, by, threshold, **search)
            matches = [
                [replace(person.best, score=person.score, distance=person.distance) for person in row]
                for row in people
            ]
        nearest = gallery.search(vectors, 1, None, **search)
        return [tuple(row) for row in matches], [row[0] if row else None for row in nearest]


def draw_answers(gallery: GalleryLike, answers: Sequence[Answer], path: str | Path) -> Path:
    """Write a contact sheet: the face of each probe, and beside it its matches with names and scores.

    An entry whose image is not to be had keeps an empty place.

    Args:
        gallery: Whose entries the matches are.
        answers: Of the probes.
        path: Of the PNG file.
    """
    rows = []
    for answer in answers:
        best = f'nearest {answer.nearest.score:.2f}' if answer.nearest else 'empty gallery'
        state = ['probe', Path(answer.probe).name] if answer.matches else ['unknown', best]
        row = [Tile(face_picture(answer.probe, answer.box), state, GOOD if answer.matches else BAD)]
        for match in answer.matches:
            row.append(
                Tile(entry_picture(gallery.get(match.id)), [match.identity, f'score {match.score:.2f}'])
            )
        rows.append(row)
    return contact_sheet(rows, path)
