"""Searching a gallery on Milvus, and reading what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.answering import CALIBRATED, best_images, check_by, floor_of, person_of
from mbv1_backbone.retrieval.checks import (
    check_count,
    check_id,
    check_names,
    check_sha256,
    check_text,
    check_vectors,
)
from mbv1_backbone.retrieval.conditions import KINDS, Where, check_conditions
from mbv1_backbone.retrieval.milvus.expressions import (
    expression_of,
    kind_expression,
    of_files,
    of_people,
)
from mbv1_backbone.retrieval.milvus.fields import ENTRY, entry_of, search_params, vector_of
from mbv1_backbone.retrieval.milvus.opening import OpenMilvus
from mbv1_backbone.retrieval.records import Correction, Entry, IdentityMatch, Match, SearchResults

__all__ = ['MAX_K', 'SearchableMilvus']

MAX_K = 16_384  # matches of a probe, at most: Milvus' own
_PROBES = 500  # that are searched for in one request, at most
_FOUND = 200_000  # matches that one request may bring, at most
_LISTED = 500  # ids, files or names in one expression


class SearchableMilvus(OpenMilvus):
    """A gallery's reading half."""

    def __len__(self) -> int:
        return self._server.count()

    def get(self, entry_id: int) -> Entry:
        """An entry.

        Raises:
            InputError: If there is none of that id.
        """
        for row in self._server.some([check_id(entry_id)], ENTRY):
            return entry_of(row, self.place)
        raise InputError(f'{self.place}: no entry {entry_id}')

    def entries(
        self,
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> Iterator[Entry]:
        """Entries, by id; they are read some hundred at a time, and others may write meanwhile.

        Args:
            identity: Of these people only.
            file: Of this file only.
            metadata: With these values only: a dict of equal ones, or a list of ``Condition``.
        """
        return (entry_of(row, self.place) for row in self._rows(ENTRY, identity, file, metadata))

    def entries_with_vectors(self, **which: Any) -> Iterator[tuple[Entry, np.ndarray]]:
        """The same, each with its embedding (dimension,)."""
        return map(self._pair, self._rows([*ENTRY, 'vector'], **which))

    def ids(self, **which: Any) -> np.ndarray:
        """Ids of the same entries, int64 (N,), ascending."""
        return np.fromiter((row['id'] for row in self._rows(['id'], **which)), np.int64)

    def some(self, ids: np.ndarray) -> Iterator[tuple[Entry, np.ndarray]]:
        """Entries of some ascending ids with their embeddings; those that are not there are left out."""
        for start in range(0, len(ids), _LISTED):
            rows = self._server.some(ids[start : start + _LISTED].tolist(), [*ENTRY, 'vector'])
            yield from map(self._pair, sorted(rows, key=lambda row: row['id']))

    def _pair(self, row: dict[str, Any]) -> tuple[Entry, np.ndarray]:
        return entry_of(row, self.place), vector_of(row)

    def _rows(
        self,
        fields: Sequence[str],
        identity: str | Sequence[str] | None = None,
        file: str | None = None,
        metadata: Where | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Rows that match, by id.

        Args:
            fields: Their fields.
            identity: Of these people only.
            file: Of this file only.
            metadata: With these values only.
        """
        names = None if identity is None else sorted(set(check_names(identity)))
        if file is not None:
            check_text(file, 'file')
        conditions = check_conditions(metadata)
        if names is None or len(names) <= _LISTED:
            return self._server.rows(expression_of(names, file, conditions), fields)
        wanted = set(names)  # too many for an expression
        rows = self._server.rows(expression_of(None, file, conditions), [*fields, 'identity'])
        return (row for row in rows if row['identity'] in wanted)

    def faces(self, hashes: Sequence[str]) -> dict[str, list[Entry]]:
        """Entries of image files, by SHA-256; files that are not there are left out."""
        wanted = list(dict.fromkeys(check_sha256(value) for value in hashes))
        found: dict[str, list[Entry]] = {}
        for start in range(0, len(wanted), _LISTED):
            for row in self._server.rows(of_files(wanted[start : start + _LISTED]), ENTRY):
                found.setdefault(row['sha256'], []).append(entry_of(row, self.place))
        return found

    def known(self, hashes: Sequence[str]) -> set[str]:
        """Those of some SHA-256 whose files are in the gallery: they need not be embedded again."""
        return set(self.faces(hashes))

    def identities(self) -> dict[str, int]:
        """Number of images of each person. Milvus counts no groups: all names are read."""
        return dict(sorted(Counter(row['identity'] for row in self._server.rows('', ['identity'])).items()))

    def images_of(self, identities: Sequence[str]) -> dict[str, int]:
        """Number of images of those of some people that are there."""
        counts = {name: self._server.count(of_people([name])) for name in check_names(identities)}
        return {name: count for name, count in counts.items() if count}

    def metadata_kinds(self, key: str) -> set[str]:
        """Of which kinds the values of a metadata key are; of none where no entry has the key."""
        return {kind for kind in KINDS if self._server.any(kind_expression(key, kind))}

    def corrections(self) -> list[Correction]:
        """None: a gallery on Milvus keeps none."""
        return []

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """No state of its own: what others write meanwhile is seen.

        Yields:
            0: changes are not counted.
        """
        yield 0

    @contextmanager
    def one_state(self) -> Iterator[int]:
        """The same."""
        yield 0

    def search(
        self,
        vectors: Any,
        k: int = 5,
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
    ) -> SearchResults:
        """The ``k`` most alike entries of each embedding, as the server's index finds them.

        Args:
            vectors: (N, dimension), normalised here.
            k: 1 to 16,384; where there are fewer that match, all of them come.
            threshold: Lowest score, -1..1; by default the calibrated one. None gives all.
            identity: Look among these people only, 500 at most.
            metadata: Look among entries with these values only: a dict, or a list of ``Condition``.

        Returns:
            For each embedding its matches, by descending score.

        Raises:
            InputError: If a value is wrong.
            UnavailableError: If the server does not answer.
        """
        array = check_vectors(vectors, self.dim, 'probes')
        if check_count(k, 'k') > MAX_K:
            raise InputError(f'{self.place}: Milvus finds up to {MAX_K} entries of a probe, got k {k}')
        names = None if identity is None else sorted(set(check_names(identity)))
        if names is not None and len(names) > _LISTED:
            raise InputError(f'{self.place}: a search is among up to {_LISTED} people, got {len(names)}')
        expression = expression_of(names, None, check_conditions(metadata))
        floor = floor_of(threshold, self.calibration if threshold == CALIBRATED else None)
        hits: list[Any] = []
        probes = max(1, min(_PROBES, _FOUND // k))
        for start in range(0, len(array), probes):
            hits += self._hits(array[start : start + probes], k, expression)
        return _results(hits, floor)

    def _hits(self, array: np.ndarray, k: int, expression: str) -> Any:
        return self._server.ask(
            'search',
            data=list(array),
            anns_field='vector',
            limit=k,
            filter=expression,
            output_fields=['identity', 'file'],
            search_params=search_params(self._index, k),
            consistency_level='Strong',
        )

    def search_identities(
        self,
        vectors: Any,
        k: int = 5,
        by: str = 'best',
        threshold: float | str | None = CALIBRATED,
        identity: str | Sequence[str] | None = None,
        metadata: Where | None = None,
    ) -> list[list[IdentityMatch]]:
        """The ``k`` most alike people of each embedding.

        Args:
            vectors: (N, dimension), normalised here.
            k: How many people; those whose images are not among the 16,384 nearest are not found.
            by: ``'best'``, the score of a person's most alike image, or ``'mean'``, of all of them; means
                are taken of the people whose best images come first, four times as many as asked.
            threshold: Lowest score, as for ``search``.
            identity: As for ``search``.
            metadata: As for ``search``.

        Returns:
            For each embedding its people, by descending score.

        Raises:
            InputError: If a value is wrong.
        """
        check_by(by)
        wanted = check_count(k, 'k') * (1 if by == 'best' else 4)
        array = check_vectors(vectors, self.dim, 'probes')
        floor = floor_of(threshold, self.calibration if threshold == CALIBRATED else None)
        among = None if identity is None else check_names(identity)
        found = []
        for probe in array:
            best = best_images(
                lambda k, probe=probe: self.search(probe[None], k, None, among, metadata)[0],  # type: ignore[misc]
                wanted,
                MAX_K,
            )
            people = self._people(best, probe, by)
            people.sort(key=lambda person: -person.score)
            found.append([person for person in people if person.score >= floor][:k])
        return found

    def _people(self, best: Mapping[str, Match], probe: np.ndarray, by: str) -> list[IdentityMatch]:
        """What is said of people who were found, but for those who have been removed meanwhile."""
        images, people = self.images_of(list(best)), []
        for name, match in best.items():
            vectors = self._vectors_of(name) if by == 'mean' else None
            if name in images and (vectors is None or vectors):
                people.append(person_of(match, images[name], probe, vectors))
        return people

    def _vectors_of(self, name: str) -> list[np.ndarray]:
        return [vector_of(row) for row in self._rows(['vector'], name)]


def _results(hits: Sequence[Any], floor: float) -> SearchResults:
    """What the server found, as a gallery says it.

    Args:
        hits: Of each probe, by descending score.
        floor: Lowest score of a match.
    """
    names: dict[int, tuple[str, str]] = {}
    widest = max(map(len, hits), default=0)
    ids = np.full((len(hits), widest), -1, np.int64)
    scores = np.zeros((len(hits), widest), np.float32)
    counts = []
    for row, found in enumerate(hits):
        for column, hit in enumerate(found):
            ids[row, column], scores[row, column] = hit['id'], hit['distance']
            names[int(hit['id'])] = (hit['entity']['identity'], hit['entity']['file'])
        counts.append(int((scores[row, : len(found)] >= floor).sum()))
    return SearchResults(names.__getitem__, ids, scores, counts)
