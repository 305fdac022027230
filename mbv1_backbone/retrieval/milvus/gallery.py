"""A gallery on Milvus: what ``Gallery`` promises, but for what docs/milvus.md says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, UnavailableError
from mbv1_backbone.retrieval.checks import check_id, check_ids, check_names, check_text, check_vectors
from mbv1_backbone.retrieval.incoming import changed_entry, checked_pairs, pairs_of
from mbv1_backbone.retrieval.milvus.fields import ENTRY, entry_of, key_of, row_bytes, row_of, vector_of
from mbv1_backbone.retrieval.milvus.opening import create_collection
from mbv1_backbone.retrieval.milvus.reading import SearchableMilvus
from mbv1_backbone.retrieval.provenance import described
from mbv1_backbone.retrieval.records import Added, Correction, Entry
from mbv1_backbone.retrieval.unnamed import check_given_name, is_group

__all__ = ['MilvusGallery']

_BATCH = 500  # entries of one request, at most
_BATCH_BYTES = 16 << 20  # of it, after which it ends; Milvus takes 64 MiB
_COUNTED = 100_000  # entries up to which stats counts the people, which reads all names
Pair = tuple[Entry, np.ndarray]


class MilvusGallery(SearchableMilvus):
    """An open gallery on Milvus. May be used by several threads; others may read and write beside it.

    What is changed is changed in batches: after an error those that were acknowledged stay.

    Example:
        >>> gallery = MilvusGallery('milvus://localhost:19530/people')  # doctest: +SKIP
        >>> gallery.search(probes, k=5, threshold=0.4)[0]  # doctest: +SKIP
        [Match(id=7, identity='Ada', file='ada/1.jpg', score=0.83, distance=0.34)]
    """

    @classmethod
    def create(
        cls,
        place: str,
        dim: int,
        model: str,
        preprocessing: Mapping[str, Any] | None = None,
        index: str | None = None,
        timeout: float = 10.0,
        made_with: Mapping[str, Any] | None = None,
    ) -> MilvusGallery:
        """Make an empty gallery, a new collection; after an error it is not there.

        Args:
            place: ``milvus://HOST:PORT/NAME``.
            dim: Values in an embedding.
            model: Fingerprint of the model that makes the embeddings; no other is let in later.
            preprocessing: How its images are prepared; likewise.
            index: Of the vectors: ``AUTOINDEX`` (None), ``FLAT``, ``HNSW`` or ``DISKANN``.
            timeout: Seconds to wait for the server.
            made_with: What people call the model (``model``) and other parts.

        Raises:
            InputError: If there is a collection of that name, or a value is wrong.
            UnavailableError: If the server does not answer.
        """
        if preprocessing is not None and not isinstance(preprocessing, Mapping):
            raise InputError(f'preprocessing must be a dict, got {preprocessing!r:.60}')
        tied = dict(model=model, preprocessing=dict(preprocessing or {}), dim=dim, metric='cosine')
        create_collection(place, tied, 'AUTOINDEX' if index is None else index, timeout, made_with)
        return cls(place, timeout)

    def stats(self) -> dict[str, Any]:
        """Counts and index, for people; up to 100,000 entries the people are counted, too."""
        entries = len(self)
        return dict(
            entries=entries,
            identities=len(self.identities()) if entries <= _COUNTED else None,
            dim=self.dim,
            model=self.model,
            made_with=described(self._tied, self.made_with),
            preprocessing=self._tied['preprocessing'],
            factory=self._index,
            server=self._server.version,
        )

    # --- entries

    def add(
        self,
        vectors: Any,
        identities: Sequence[str],
        files: Sequence[str],
        hashes: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        boxes: Sequence[Any] | None = None,
        landmarks: Sequence[Any] | None = None,
        detector_scores: Sequence[float | None] | None = None,
        qualities: Sequence[float | None] | None = None,
    ) -> Added:
        """Add faces of people, 500 in a request: after an error those that were acknowledged stay.

        Args:
            vectors: (N, dimension), normalised here.
            identities: Whose face each is.
            files: Where each image came from.
            hashes: SHA-256 of each image file; a face (file and box) that is there already is skipped.
            metadata: Free values for each.
            boxes: Of each face in its image, (x0, y0, x1, y1) in pixels; None for an image that is the face.
            landmarks: Of each face, (x, y) pairs in pixels, or None.
            detector_scores: How sure the detector was of each, or None.
            qualities: Of each face for recognition, or None.

        Raises:
            InputError: If a value is wrong.
            UnavailableError: If the server does not answer.
        """
        array = check_vectors(vectors, self.dim)
        required = dict(identities=identities, files=files, hashes=hashes)
        optional = dict(
            metadata=metadata,
            boxes=boxes,
            landmarks=landmarks,
            **{'detector scores': detector_scores, 'qualities': qualities},
        )
        return self.add_entries(pairs_of(array, required, optional))

    def add_entries(self, pairs: Iterable[Pair], corrections: Iterable[Correction] = ()) -> Added:
        """Add entries with their embeddings, as another gallery has them, in batches as they come.

        Args:
            pairs: The entries and their embeddings (dimension,).
            corrections: There must be none: a gallery on Milvus keeps none.

        Raises:
            InputError: As ``add``, or if there are corrections.
        """
        self._check_writable('add')
        if count := sum(1 for _ in corrections):
            raise InputError(
                f'{self.place}: a gallery on Milvus keeps no corrections (correct, split, merge-people), got '
                f'{count}: mbv1 gallery copy --without-corrections leaves them behind'
            )
        ids: list[int | None] = []
        for batch in self._batches(checked_pairs(iter(pairs), self.dim)):
            try:
                ids += self._add(batch)
            except UnavailableError as error:
                stored = sum(one is not None for one in ids)
                raise UnavailableError(
                    f'{error}; {stored} new entries were acknowledged before: the same again adds the others'
                ) from error
        return Added(tuple(ids))

    def _batches(self, pairs: Iterator[Pair]) -> Iterator[list[dict[str, Any]]]:
        """Rows without ids, as many as a request takes; what Milvus cannot keep is refused here."""
        batch: list[dict[str, Any]] = []
        size = 0
        for entry, vector in pairs:
            batch.append(row_of(entry, vector))
            size += row_bytes(batch[-1])
            if len(batch) == _BATCH or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _add(self, rows: list[dict[str, Any]]) -> list[int | None]:
        """Add some rows; the id of each, None where its face is there already."""
        ids: list[int | None] = [None] * len(rows)
        new: dict[int, dict[str, Any]] = {}
        left, salt = dict(enumerate(rows)), 0
        while left:
            wanted = {place: key_of(row['sha256'], row['box'], salt) for place, row in left.items()}
            found = self._server.some(list(dict.fromkeys(wanted.values())), ['sha256', 'box'])
            there = {row['id']: row for row in found}
            left_over: dict[int, dict[str, Any]] = {}
            for place, row in left.items():
                other = there.get(wanted[place]) or new.get(wanted[place])
                if other is None:
                    ids[place] = wanted[place]
                    new[wanted[place]] = {**row, 'id': wanted[place]}
                elif (other['sha256'], other['box']) != (row['sha256'], row['box']):
                    left_over[place] = row  # another face has the same digest
            left, salt = left_over, salt + 1
        if new:
            self._server.ask('upsert', data=list(new.values()))
        return ids

    def remove(self, ids: Iterable[int] = (), identity: str | None = None, file: str | None = None) -> int:
        """Remove entries by id, by identity or by file, 500 in a request.

        Args:
            ids: Of entries.
            identity: A person, all of whose entries go.
            file: A file, all of whose entries go; of the person only, where both are given.

        Returns:
            How many there were.

        Raises:
            InputError: If a value is wrong; nothing is removed then.
        """
        wanted = check_ids(ids)
        self._check_writable('remove')
        if identity is not None or file is not None:
            wanted += self.ids(identity=identity, file=file).tolist()
        count = 0
        for part in _parts(sorted(set(wanted))):
            there = [row['id'] for row in self._server.some(part, ['id'])]
            if there:
                self._server.ask('delete', ids=there)
            count += len(there)
        return count

    def update(
        self,
        entry_id: int,
        metadata: Mapping[str, Any] | None = None,
        file: str | None = None,
        quality: float | None = None,
        keep: bool = False,
    ) -> None:
        """Replace what an entry says of itself; of two that do so at one time, one counts.

        Args:
            entry_id: The entry.
            metadata: All of its metadata, but for the key ``folder``: where its file lies.
            file: Where its image lies now.
            quality: Of its face.
            keep: Whether keys that ``metadata`` does not name stay.

        Raises:
            InputError: If there is no such entry, or a value is wrong.
        """
        changed = changed_entry(metadata, file, quality, keep)
        self._check_writable('update')
        rows = self._server.some([check_id(entry_id)], [*ENTRY, 'vector'])
        if not rows:
            raise InputError(f'{self.place}: no entry {entry_id}')
        entry = changed(entry_of(rows[0], self.place))
        self._server.ask('upsert', data=[row_of(entry, vector_of(rows[0]))])

    # --- people

    def rename(self, identity: str, new: str) -> int:
        """Give a person, or a group, another name, 500 entries in a request.

        Returns:
            How many entries the person has.

        Raises:
            InputError: If there is no such person, the new name is like an automatic one, or somebody has it.
        """
        check_given_name(new)
        self._check_writable('rename')
        self._check_there([identity])
        if new != identity and self.images_of([new]):
            raise InputError(
                f'{self.place}: there is a {new!r:.60} already: merge_identities '
                '(mbv1 gallery merge-people) makes the two one'
            )
        return self._name([identity], new)

    def merge_identities(self, identities: Sequence[str], into: str) -> int:
        """Make several names one person's, 500 entries in a request.

        Args:
            identities: The names that go.
            into: The name that stays; it may be one of them, or new.

        Returns:
            How many entries have got the name.

        Raises:
            InputError: If one of the people is not there, or two of them are in one photograph.
        """
        names = [name for name in dict.fromkeys(check_names(identities)) if name != into]
        self._check_writable('merge identities')
        self._check_there(names)
        if not (is_group(check_text(into, 'identity')) and self.images_of([into])):
            check_given_name(into)
        self._check_apart(names, into)
        return self._name(names, into)

    def _check_there(self, names: Sequence[str]) -> None:
        there = self.images_of(names)
        if missing := [name for name in names if name not in there]:
            raise InputError(f'{self.place}: there is no {missing[0]!r:.60}')

    def _check_apart(self, names: Sequence[str], into: str) -> None:
        """Check that no two faces of one photograph would get one name."""
        chosen = {*names, into}
        for part in _parts([entry.sha256 for entry in self.entries(names)]):
            for faces in self.faces(part).values():
                boxed = [one for one in faces if one.box is not None and one.identity in chosen]
                if len({one.identity for one in boxed}) > 1:
                    one, other = boxed[0], next(two for two in boxed if two.identity != boxed[0].identity)
                    raise InputError(
                        f'{one.file}: entries {one.id} ({one.identity:.60}) and {other.id} '
                        f'({other.identity:.60}) are two faces of this photograph, so they are two people'
                    )

    def _name(self, names: Sequence[str], new: str) -> int:
        """Give entries of some people a name; how many they are."""
        ids = self.ids(identity=list(names)).tolist() if names else []
        done = 0
        for part in _parts(ids):
            rows = self._server.some(part, [*ENTRY, 'vector'])
            renamed = [
                row_of(replace(entry_of(row, self.place), identity=new), vector_of(row)) for row in rows
            ]
            try:
                if renamed:
                    self._server.ask('upsert', data=renamed)
            except UnavailableError as error:
                raise UnavailableError(
                    f'{error}; {done} of {len(ids)} entries have the name {new!r:.60} already: '
                    'merge_identities (mbv1 gallery merge-people) gives it to the others'
                ) from error
            done += len(renamed)
        return done

    # --- upkeep

    def bulk(self) -> nullcontext[None]:
        """Nothing to put off: the server keeps its index."""
        return nullcontext()

    def optimize(self) -> None:
        """Nothing to do: the server keeps its index."""

    def integrity_problems(self) -> list[str]:
        """What is wrong with the collection, one line each: the server checks what it stores."""
        try:
            self._read_tied()
        except InputError as error:
            return [str(error)]
        return []

    def index_problems(self) -> list[str]:
        """None that could be seen from here: the index is the server's."""
        return []

    def indexed(self) -> int:
        """Vectors that can be found: all, since those that are not indexed yet are compared one by one."""
        return len(self)

    def __enter__(self) -> MilvusGallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    return (list(values[start : start + _BATCH]) for start in range(0, len(values), _BATCH))
