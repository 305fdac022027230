"""Changing a gallery on Milvus: its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, UnavailableError
from mbv1_backbone.retrieval.checks import check_id, check_ids, check_vectors
from mbv1_backbone.retrieval.incoming import changed_entry, checked_pairs, pairs_of
from mbv1_backbone.retrieval.milvus.fields import ENTRY, entry_of, key_of, row_bytes, row_of, vector_of
from mbv1_backbone.retrieval.milvus.reading import SearchableMilvus
from mbv1_backbone.retrieval.records import Added, Correction, Entry

__all__ = ['WritableMilvus', 'parts']

_BATCH = 500  # entries of one request, at most
_BATCH_BYTES = 16 << 20  # of it, after which it ends; Milvus takes 64 MiB
Pair = tuple[Entry, np.ndarray]


class WritableMilvus(SearchableMilvus):
    """A gallery's writing half: it goes in requests; after an error the acknowledged ones stay."""

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
            UnavailableError: If the server does not answer; either says how many were added before.
        """
        self._check_writable('add')
        if count := sum(1 for _ in corrections):
            raise InputError(
                f'{self.place}: a gallery on Milvus keeps no corrections (correct, split, merge-people), got '
                f'{count}: mbv1 gallery copy --without-corrections leaves them behind'
            )
        ids: list[int | None] = []
        try:
            for batch in self._batches(checked_pairs(iter(pairs), self.dim)):
                ids += self._add(batch)
        except (InputError, UnavailableError) as error:
            if not (stored := Added(tuple(ids)).new):
                raise
            raise type(error)(
                f'{error}; {stored} new entries were acknowledged before, and stay: adding skips them'
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
        for part in parts(sorted(set(wanted))):
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

    def remove_metadata(self, key: str) -> int:
        """Take a key out of the metadata of all entries that have it, 500 in a request.

        Args:
            key: Of the metadata.

        Returns:
            How many entries had it.

        Raises:
            UnavailableError: If the server does not answer; what was changed before stays so.
        """
        self._check_writable('remove metadata')
        count = 0
        for part in parts(self.ids().tolist()):
            pairs = [
                (entry_of(row, self.place), vector_of(row))
                for row in self._server.some(part, [*ENTRY, 'vector'])
            ]
            changed = [
                row_of(replace(one, metadata={k: v for k, v in one.metadata.items() if k != key}), vector)
                for one, vector in pairs
                if key in one.metadata
            ]
            if changed:
                self._server.ask('upsert', data=changed)
                count += len(changed)
        return count


def parts(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Values in lists, as many each as go into one request."""
    return (list(values[start : start + _BATCH]) for start in range(0, len(values), _BATCH))
