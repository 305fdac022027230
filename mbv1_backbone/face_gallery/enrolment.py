"""From image files into a gallery, and from probes to what a gallery says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_file, read_image
from mbv1_backbone.face.evaluation.drawing import BAD, GOOD, Tile, contact_sheet
from mbv1_backbone.face.files import locate, read_rows, scan_people
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.records import Match

_BATCH = 256  # files that are embedded and added in one change
FOLDER = 'folder'  # the metadata that says where an entry's file lies


@dataclass(frozen=True)
class Source:
    """An image to enrol.

    Attributes:
        folder: Absolute.
        file: Relative to it.
        identity: Whose face it is.
        metadata: Free values.
    """

    folder: Path
    file: str
    identity: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.folder / self.file


@dataclass
class Enrolled:
    """What became of images that were to be enrolled.

    Attributes:
        added: How many are new.
        known: How many were in the gallery already.
        failures: File -> why it could not be, in one line.
        messages: What else happened, e.g. that the index was trained anew.
    """

    added: int = 0
    known: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What a gallery says of a face.

    Attributes:
        probe: The image file.
        matches: By falling score; none where nobody reaches the threshold: unknown.
        nearest: The most alike entry, whatever its score; None of an empty gallery.
    """

    probe: str
    matches: tuple[Match, ...]
    nearest: Match | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        nearest = asdict(self.nearest) if self.nearest else None
        return dict(probe=self.probe, matches=[asdict(match) for match in self.matches], nearest=nearest)


def read_sources(location: str | Path, root: str | Path | None = None) -> list[Source]:
    """Images of people: a folder ``FOLDER/PERSON/IMAGE``, or a CSV file with ``file`` and ``identity``.

    Args:
        location: Of either. A CSV file's further columns become metadata.
        root: Folder that the CSV file's paths start from; by default its own. A bare name that is not there
            is looked for in the folder of its person.

    Raises:
        InputError: If there is none, or a path of the CSV file leads out of the folder.
    """
    location = Path(location)
    if location.is_dir():
        folder = location.resolve()
        found = [Source(folder, file, identity) for file, identity in scan_people(folder).items()]
    else:
        folder = Path(root or location.parent).resolve()
        rows = read_rows(location, ('file', 'identity'))
        found = [_listed(folder, row.pop('file'), row.pop('identity'), row) for row in rows]
    if not found:
        raise InputError(f'{location}: no images of people (FOLDER/PERSON/IMAGE, or a CSV file)')
    return found


def enrol(
    gallery: Gallery, embedder: FaceEmbedder, sources: Sequence[Source], progress: bool = False
) -> Enrolled:
    """Add images to a gallery, some hundred in one change; files that it has are not embedded again.

    Args:
        gallery: Of this embedder's model.
        embedder: Whose finder, if any, gives one face an image.
        sources: Images.
        progress: Show a bar.

    Raises:
        InputError: If the gallery is of another model, or another writer is at work.
    """
    gallery.check_model(embedder.fingerprint, embedder.preprocessing)
    done = Enrolled()
    with tqdm(total=len(sources), unit='image', disable=not progress, leave=False) as bar:
        for batch in _batches(sources):
            hashed = [(source, sha256) for source in batch if (sha256 := _sha256(source, done))]
            there = gallery.known([sha256 for _, sha256 in hashed])
            new = [(source, sha256) for source, sha256 in hashed if sha256 not in there]
            done.known += len(hashed) - len(new)
            _enrol_batch(gallery, embedder, new, done)
            bar.update(len(batch))
    gallery.optimize()
    return done


def _enrol_batch(
    gallery: Gallery, embedder: FaceEmbedder, batch: Sequence[tuple[Source, str]], done: Enrolled
) -> None:
    found = embedder.embed([source.path for source, _ in batch])
    for index, reason in found.failures.items():
        done.failures[batch[index][0].file] = reason
    chosen = [batch[i] for i in found.sources]
    if not chosen:
        return
    added = gallery.add(
        found.vectors,
        [source.identity for source, _ in chosen],
        [source.file for source, _ in chosen],
        [sha256 for _, sha256 in chosen],
        [{**source.metadata, FOLDER: str(source.folder)} for source, _ in chosen],
    )
    done.added += added.new
    done.known += len(chosen) - added.new
    if added.message:
        done.messages.append(added.message)


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


def entry_path(folder: str, file: str) -> Path:
    """Where an entry's image lies.

    Raises:
        InputError: If the file's path leads out of its folder.
    """
    return _inside(Path(folder), file)


def _listed(folder: Path, file: str, identity: str, metadata: dict[str, Any]) -> Source:
    """A row of a CSV file."""
    if not _inside(folder, file).exists() and (path := locate(folder, file, identity)).exists():
        file = path.relative_to(folder).as_posix()
        _inside(folder, file)
    return Source(folder, file, identity, metadata)


def _image_of(gallery: Gallery, match: Match) -> np.ndarray | None:
    folder = gallery.get(match.id).metadata.get(FOLDER)
    try:
        return read_image(entry_path(folder, match.file)) if isinstance(folder, str) else None
    except InputError:
        return None


def _inside(folder: Path, file: str) -> Path:
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f'{file}: leads out of {folder}')
    return path


def _sha256(source: Source, done: Enrolled) -> str | None:
    try:
        return hashlib.sha256(read_file(source.path)).hexdigest()
    except InputError as error:
        done.failures[source.file] = str(error)
        return None


def _batches(sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    for start in range(0, len(sources), _BATCH):
        yield sources[start : start + _BATCH]
