"""From probes to what a gallery says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.evaluation.drawing import BAD, GOOD, Tile, contact_sheet
from mbv1_backbone.face_gallery.sources import FOLDER, entry_path
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.records import Match

__all__ = ['Answer', 'ask', 'draw_answers']


@dataclass(frozen=True)
class Answer:
    """What a gallery says of a face.

    Attributes:
        probe: The image file.
        matches: By descending score; none where nobody reaches the threshold: unknown.
        nearest: The most alike entry, whatever its score; None of an empty gallery.
    """

    probe: str
    matches: tuple[Match, ...]
    nearest: Match | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        nearest = asdict(self.nearest) if self.nearest else None
        return dict(probe=self.probe, matches=[asdict(match) for match in self.matches], nearest=nearest)


def ask(
    gallery: Gallery,
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
    with gallery.snapshot():
        matches: Sequence[Sequence[Match]]
        if by is None:
            matches = gallery.search(found.vectors, k, threshold, **search)
        else:
            people = gallery.search_identities(found.vectors, k, by, threshold, **search)
            matches = [
                [replace(person.best, score=person.score, distance=person.distance) for person in row]
                for row in people
            ]
        nearest = gallery.search(found.vectors, 1, None, **search)
    answers = [
        Answer(str(probes[source]), tuple(mine), first[0] if first else None)
        for source, mine, first in zip(found.sources, matches, nearest, strict=True)
    ]
    return answers, failures


def draw_answers(gallery: Gallery, answers: Sequence[Answer], path: str | Path) -> Path:
    """Write a contact sheet: each probe, and beside it its matches with names and scores.

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
        row = [Tile(read_image(answer.probe), state, GOOD if answer.matches else BAD)]
        for match in answer.matches:
            row.append(Tile(_image_of(gallery, match), [match.identity, f'score {match.score:.2f}']))
        rows.append(row)
    return contact_sheet(rows, path)


def _image_of(gallery: Gallery, match: Match) -> np.ndarray | None:
    folder = gallery.get(match.id).metadata.get(FOLDER)
    try:
        return read_image(entry_path(folder, match.file)) if isinstance(folder, str) else None
    except InputError:
        return None
