"""From image files into a gallery."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_file
from mbv1_backbone.face.finder import Place
from mbv1_backbone.face_gallery.faces import SAME, face_of, overlap
from mbv1_backbone.face_gallery.sources import FOLDER, Source, Sources, entry_path
from mbv1_backbone.inference.embedder import Embedded, FaceEmbedder
from mbv1_backbone.retrieval import Entry, GalleryLike
from mbv1_backbone.retrieval.checks import check_box, check_number
from mbv1_backbone.retrieval.unnamed import is_unnamed, unnamed

__all__ = ['POOR', 'Enrolled', 'OtherName', 'enrol']

POOR = 'faces_left_out'  # the metadata that says which faces beside an entry's have too low a quality
_BATCH = 256  # files that are embedded and added in one change


@dataclass(frozen=True)
class OtherName:
    """A file that is known under another name.

    Attributes:
        file: As it was to be enrolled.
        identity: Its name there.
        entry: What the gallery has of the same file.
    """

    file: str
    identity: str
    entry: Entry

    def __str__(self) -> str:
        return (
            f'{self.file} of {self.identity} is the same file as {self.entry.file}, '
            f'entry {self.entry.id} of {self.entry.identity}'
        )


@dataclass
class Enrolled:
    """What became of images that were to be enrolled.

    Attributes:
        added: Faces that are new.
        known: Images that were in the gallery already, under the same name.
        failures: File, or line of a CSV file -> why it could not be, in one line.
        messages: What else happened, e.g. that the index was trained anew.
        other_names: Images that the gallery has under another name, which stays.
        moved: Known images whose place was brought up to date, since they are no longer where they were.
    """

    added: int = 0
    known: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    other_names: list[OtherName] = field(default_factory=list)
    moved: int = 0


def enrol(
    gallery: GalleryLike,
    embedder: FaceEmbedder,
    sources: Sequence[Source],
    progress: bool = False,
    min_quality: float = 0.0,
) -> Enrolled:
    """Add images to a gallery, some hundred in one change; files that it has are not embedded again.

    Args:
        gallery: Of this embedder's model.
        embedder: With a finder of policy ``all``, every face of an image becomes an entry with its box.
        sources: Images. Faces of those without a name get automatic ones, for ``cluster`` to group them.
        progress: Show a bar.
        min_quality: Faces of a lower ``FaceQuality.value`` are left out, with the reason; images that are
            taken as they are without a detector have none, and stay.

    Raises:
        InputError: If the gallery is of another model, or the quality is not in [0, 1].
        LockedError: If another writer is at work.
        NoSpaceError: If the disk is full.
    """
    if not 0 <= min_quality <= 1:
        raise InputError(f'min_quality must lie in 0..1, got {min_quality:g}')
    gallery.check_model(embedder.fingerprint, embedder.preprocessing)
    done = Enrolled(failures=dict(sources.left_out) if isinstance(sources, Sources) else {})
    run = _Enrolment(gallery, embedder, done, min_quality)
    with tqdm(total=len(sources), unit='image', disable=not progress, leave=False) as bar:
        for batch in _batches(sources):
            run.enrol([(source, sha256) for source in batch if (sha256 := _sha256(source, done))])
            bar.update(len(batch))
    gallery.optimize()
    return done


class _Enrolment:
    """One run of ``enrol``."""

    def __init__(
        self, gallery: GalleryLike, embedder: FaceEmbedder, done: Enrolled, min_quality: float = 0.0
    ) -> None:
        self._gallery = gallery
        self._embedder = embedder
        self._done = done
        self._min_quality = min_quality
        self._every_face = embedder.finder is not None and embedder.finder.policy == 'all'
        self._not_them = {(c.sha256, c.identity) for c in gallery.corrections() if not c.correct}

    def enrol(self, batch: Sequence[tuple[Source, str]]) -> None:
        there = self._gallery.faces([sha256 for _, sha256 in batch])
        new: dict[str, Source] = {}
        later: list[tuple[Source, str]] = []  # the same files as others of the batch
        for source, sha256 in batch:
            entries = there.get(sha256, [])
            poor = poor_faces(entries) if self._every_face else []
            passes = any(face['quality'] >= self._min_quality for face in poor)
            if entries and not passes and not self._may_have_more(source, entries):
                self._known(source, sha256, entries)
                for face in poor:
                    self._say_poor(_at(source.file, face['box']), f'{face["quality"]:.2f}')
            elif sha256 in new:
                later.append((source, sha256))
            else:
                new[sha256] = source
        self._embed(new, there)
        there = self._gallery.faces([sha256 for _, sha256 in later])
        for source, sha256 in later:
            if sha256 in there:
                self._known(source, sha256, there[sha256])
            else:
                reason = self._done.failures.get(new[sha256].file, 'which is not added')
                self._done.failures[source.file] = f'the same file as {new[sha256].file}: {reason}'

    def _may_have_more(self, source: Source, entries: Sequence[Entry]) -> bool:
        """Whether a file may show faces that were not asked for when its only entry was added."""
        if not self._every_face or len(entries) > 1:
            return False
        [entry] = entries
        return entry.identity == source.identity or (
            source.identity is None and not is_unnamed(entry.identity)
        )

    def _embed(self, new: Mapping[str, Source], there: Mapping[str, Sequence[Entry]]) -> None:
        """Add the faces of files, by their hashes, that are not there."""
        hashes, sources = list(new), list(new.values())
        found = self._embedder.embed([source.path for source in sources])
        for index, reason in found.failures.items():
            self._done.failures[sources[index].file] = reason
        rows: list[int] = []
        for index, sha256 in enumerate(hashes):
            mine = np.flatnonzero(found.sources == index).tolist()
            places = [found.places[row] for row in mine]
            known = {face_of(entry, places) for entry in there.get(sha256, [])}
            rows += [row for face, row in enumerate(mine) if face not in known]
        poor = self._poor(found, rows, sources)
        rows = [row for row in rows if row not in poor]
        ids = self._add(found, rows, hashes, sources, poor) if rows else ()
        fresh = {found.sources[row] for row, one in zip(rows, ids, strict=True) if one is not None}
        for index, (sha256, source) in enumerate(new.items()):
            if index in fresh:
                self._bring_up_to_date(source, there.get(sha256, []))
            elif there.get(sha256) or index not in {*found.failures, *poor.values()}:
                self._known(source, sha256, there.get(sha256, []))

    def _poor(self, found: Embedded, rows: Sequence[int], sources: Sequence[Source]) -> dict[int, int]:
        """Of the faces that would be added those of too low a quality, with their images; a failure each."""
        poor: dict[int, int] = {}
        for row in rows:
            place, index = found.places[row], int(found.sources[row])
            if place.quality is None or place.quality.value >= self._min_quality:
                continue
            poor[row] = index
            file = sources[index].file
            if place.box is not None and (found.sources == index).sum() > 1:
                file = _at(file, place.box)
            self._say_poor(file, str(place.quality))
        return poor

    def _say_poor(self, file: str, quality: str) -> None:
        self._done.failures[file] = f'quality {quality}, {self._min_quality:g} is asked for'

    def _add(
        self,
        found: Embedded,
        rows: Sequence[int],
        hashes: Sequence[str],
        sources: Sequence[Source],
        poor: Mapping[int, int],
    ) -> tuple[int | None, ...]:
        beside: dict[int, dict[str, Any]] = {}  # what is left out of an image, by the image's index
        for row, index in poor.items():
            beside.setdefault(index, {POOR: []})[POOR].append(_as_poor(found.places[row]))
        chosen = [sources[found.sources[row]] for row in rows]
        places = [found.places[row] for row in rows]
        mine = [hashes[found.sources[row]] for row in rows]
        boxes = [check_box(place.box) for place in places]
        added = self._gallery.add(
            found.vectors[rows],
            [
                source.identity or unnamed(sha256, box)
                for source, sha256, box in zip(chosen, mine, boxes, strict=True)
            ],
            [source.file for source in chosen],
            mine,
            [
                {**sources[index].metadata, FOLDER: str(sources[index].folder), **beside.get(index, {})}
                for index in found.sources[rows].tolist()
            ],
            boxes,
            [place.landmarks for place in places],
            [place.score for place in places],
            [None if place.quality is None else place.quality.value for place in places],
        )
        self._done.added += added.new
        if added.message:
            self._done.messages.append(added.message)
        return added.ids

    def _known(self, source: Source, sha256: str, entries: Sequence[Entry]) -> None:
        """A file that is there: under this name or another, here or where it has been moved from.

        Without entries its face was corrected not to be that person.
        """
        names = {entry.identity for entry in entries}
        if (
            source.identity is None
            or source.identity in names
            or not entries
            or (sha256, source.identity) in self._not_them
        ):
            self._done.known += 1
        else:
            self._done.other_names.append(OtherName(source.file, source.identity, entries[0]))
        self._bring_up_to_date(source, entries)

    def _bring_up_to_date(self, source: Source, entries: Sequence[Entry]) -> None:
        if moved := [entry for entry in entries if _has_moved(entry, source)]:
            self._done.moved += 1
        for entry in moved:
            self._gallery.update(entry.id, {FOLDER: str(source.folder)}, source.file, keep=True)


def poor_faces(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Faces of an image that were left out for their quality when its entries were added, and still are.

    Args:
        entries: All of one image.

    Returns:
        ``box`` and ``quality`` of each.
    """
    faces = {tuple(face['box']): face for entry in entries for face in _left_out(entry)}
    there = [entry.box for entry in entries if entry.box is not None]
    return [face for box, face in faces.items() if all(overlap(box, other) < SAME for other in there)]


def _left_out(entry: Entry) -> Iterator[dict[str, Any]]:
    """What an entry says of faces beside it; other values of that key, which anybody can set, say nothing."""
    listed = entry.metadata.get(POOR)
    for face in listed if isinstance(listed, list) else ():
        with suppress(InputError, TypeError, LookupError):
            box, quality = check_box(face['box']), check_number(face['quality'], 'quality')
            if box is not None and quality is not None:
                yield dict(box=box, quality=quality)


def _as_poor(place: Place) -> dict[str, Any]:
    return dict(box=check_box(place.box), quality=round(place.quality.value, 4) if place.quality else 0.0)


def _at(file: str, box: Sequence[float]) -> str:
    return f'{file}, face at {box[0]:.0f}, {box[1]:.0f}'


def _has_moved(entry: Entry, source: Source) -> bool:
    """Whether an entry's file is no longer where it was, and so must be what was found now."""
    folder = entry.metadata.get(FOLDER)
    if not isinstance(folder, str) or (folder, entry.file) == (str(source.folder), source.file):
        return False
    try:
        former = read_file(entry_path(folder, entry.file))
    except InputError:
        return True
    return hashlib.sha256(former).hexdigest() != entry.sha256


def _sha256(source: Source, done: Enrolled) -> str | None:
    try:
        return hashlib.sha256(read_file(source.path)).hexdigest()
    except InputError as error:
        done.failures[source.file] = str(error)
        return None


def _batches(sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    for start in range(0, len(sources), _BATCH):
        yield sources[start : start + _BATCH]
