"""The search index: rows of vectors that FAISS searches, and that are compared exactly where that is right.

Rows are numbered in the order in which they were added. FAISS's own index (Flat, IVF, HNSW ...) gives
candidates; where it is refined, the vectors themselves put them in order. Rows that were removed are taken
out of lists; of other kinds they are passed over, by a bitmap, until the index is built anew.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.factories import candidates_of, inner_of, make_index, reason, usable_factory
from mbv1_backbone.retrieval.mapped import Views
from mbv1_backbone.retrieval.matrix import gathered, matrix_of
from mbv1_backbone.retrieval.nearest_first import nearest_first
from mbv1_backbone.retrieval.parameters import Parameters
from mbv1_backbone.retrieval.threads import ONE_THREAD, SEVERAL_THREADS
from mbv1_backbone.retrieval.training import train
from mbv1_backbone.retrieval.vectors import ArrayVectors, Vectors
from mbv1_backbone.retrieval.width import OWN_WIDTH, Width

__all__ = ['SearchIndex']

_REMOVED = {'graph': 0.3, 'other': 0.1}  # share of removed rows after which an index is built anew
_REMOVED_LEAST = 100
_GROWN = 0.1  # share of new vectors after which an index is trained anew
_GROWN_LEAST = 1000
_MISSING = object()


class SearchIndex:
    """A FAISS index of rows, for cosines of vectors of length 1.

    Searches may run at the same time; changes may not run beside anything.

    Attributes:
        faiss: FAISS's index.
        factory: Its string.
        trained_for: Vectors that it was trained for.
        parameters: How widely it is searched.
        removed: bool (rows,), True for each that was removed.
        matrix: FAISS's matrix of all rows in single or half precision; None where codes only are kept.
    """

    def __init__(
        self,
        index: Any,
        factory: str,
        trained_for: int,
        width: Width | None = None,
        views: Views | None = None,
    ) -> None:
        self.faiss = index
        self._views = views or Views()
        self.factory = factory
        self.trained_for = trained_for
        self.removed: np.ndarray = np.zeros(int(index.ntotal), bool)
        self._gone = 0  # how many of them
        self._candidates = candidates_of(index)
        self._refine = (
            faiss.downcast_index(index.refine_index) if isinstance(index, faiss.IndexRefine) else None
        )
        inner = self._inner = inner_of(self._candidates)
        self._lists = inner if isinstance(inner, faiss.IndexIVF) else None
        self._graph = isinstance(inner, faiss.IndexHNSW)
        self.matrix = matrix_of(self._refine, inner)
        self._single = nearest_first(index)
        self.parameters = Parameters(index, width or Width())
        self._made: dict[tuple[Width, int], Any] = {}  # parameters
        self._alive: tuple[np.ndarray, Any] | None = None

    @classmethod
    def build(cls, factory: str, vectors: Vectors | np.ndarray) -> SearchIndex:
        """Train an index on a sample of vectors and add them all, block by block.

        With too few vectors to train the wanted index (see ``usable_factory``) it is a flat one for now.

        Raises:
            InputError: If FAISS does not know the factory string, or cannot train it.
        """
        source = ArrayVectors(vectors) if isinstance(vectors, np.ndarray) else vectors
        factory = usable_factory(factory, source.dim, len(source))
        built = cls(_trained(factory, source), factory, len(source))
        for _, block in source.blocks():
            built.add(block)
        return built

    def listed_anew(self, factory: str, vectors: Vectors) -> SearchIndex:
        """The same rows behind other lists. This one cannot be used afterwards.

        Args:
            factory: Of the other index; where it is refined as this one is, the matrix is taken over.
            vectors: Of the rows, of which none was removed.
        """
        refined = [string.partition(',Refine')[2] for string in (factory, self.factory)]
        if self._refine is None or refined[0] != refined[1]:
            return SearchIndex.build(factory, vectors)
        index = _trained(factory, vectors)
        candidates = candidates_of(index)
        for rows, block in vectors.blocks():
            candidates.add_with_ids(block, rows)
        whole = faiss.IndexRefine(candidates, self._refine)
        index.own_fields = self.faiss.own_refine_index = False
        whole.own_fields = whole.own_refine_index = True
        whole.ntotal = self._refine.ntotal
        return SearchIndex(whole, factory, len(vectors), views=self._views)

    # --- what it holds

    @property
    def rows(self) -> int:
        """Rows that were added, removed ones among them."""
        return len(self.removed)

    @property
    def count(self) -> int:
        """Rows that can be found."""
        return self.rows - self._gone

    @property
    def exact(self) -> bool:
        """Whether every search compares with all."""
        return isinstance(self._candidates, faiss.IndexFlat)

    def needs_retraining(self) -> bool:
        """Whether a tenth of what it holds came after its training, or much was removed."""
        share = _REMOVED['graph' if self._graph else 'other'] if self._lists is None else _REMOVED['graph']
        if self._gone > max(_REMOVED_LEAST, share * self.rows):
            return True
        trained = not (self.exact or self._graph)
        return trained and self.count - self.trained_for > max(_GROWN_LEAST, _GROWN * self.count)

    def restore(self, removed: np.ndarray) -> None:
        """Take over which rows (bool) were removed, of an index that was read.

        Raises:
            InputError: If the index does not hold as many.
        """
        listed = int(np.count_nonzero(~removed)) if self._lists is not None else len(removed)
        refined = len(removed) if self._refine is None else int(self._refine.ntotal)
        if int(self._candidates.ntotal) != listed or refined != len(removed):
            raise InputError(f'index holds {self._candidates.ntotal} vectors, not {listed}')
        self.removed, self._gone = removed, int(np.count_nonzero(removed))

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors (N, dimension) as the next rows."""
        if not len(vectors):
            return
        array = np.ascontiguousarray(vectors, np.float32)
        self._views.make_changeable(self._inner)
        if self._lists is not None:
            self._candidates.add_with_ids(array, np.arange(self.rows, self.rows + len(array)))
        elif self._graph:
            self._candidates.add(array)
        else:
            self._views.append(self._candidates, array)
        if self._refine is not None:
            self._views.append(self._refine, array)
            self.faiss.ntotal = self._single.ntotal = self._refine.ntotal
        self.removed = np.concatenate([self.removed, np.zeros(len(array), bool)])
        self._forget()

    def remove(self, rows: np.ndarray) -> None:
        """Remove rows, if they are not removed already."""
        fresh = np.unique(rows[~self.removed[rows]])
        if not len(fresh):
            return
        if self._lists is not None:
            self._views.make_changeable(self._inner)
            self._candidates.remove_ids(np.asarray(fresh, np.int64))
        self.removed[fresh] = True
        self._gone += len(fresh)
        self._forget()

    def _forget(self) -> None:
        """Drop what was made for the rows as they were."""
        self._alive = None
        self._made.clear()

    # --- how widely it is searched

    def bitmap_of(self, rows: np.ndarray) -> np.ndarray:
        """uint8, a bit for each row of the index, the lowest first: those that are set."""
        bits: np.ndarray = np.zeros(self.rows, bool)
        bits[rows] = True
        return np.packbits(bits, bitorder='little')

    @property
    def width(self) -> Width:
        """How widely it is searched where nobody says."""
        return self.parameters.own

    @width.setter
    def width(self, width: Width) -> None:
        self.parameters.own = width
        self._made.clear()

    def limits(self) -> Width:
        """The widest search that there is: None for what this kind of index does not have."""
        return self.parameters.limits(self.rows)

    def filled(self, width: Width, k: int) -> Width:
        """A width with every value: what it says, or what is stored, or a guess, for ``k`` matches."""
        return self.parameters.filled(width, k, self.rows)

    # --- searching

    def search(self, vectors: np.ndarray, k: int, width: Width = OWN_WIDTH) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` most alike rows of each vector.

        Args:
            vectors: float32 (N, dimension), of length 1.
            k: How many; more than there are gives those that there are.
            width: How widely; where it finds fewer than there are, all are compared.

        Returns:
            Scores (N, k) and rows (N, k), descending.
        """
        k = min(k, self.count)
        if k == 0 or not len(vectors):
            return _nothing(len(vectors))
        key = (width, k)
        parameters = self._made.get(key, _MISSING)
        if parameters is _MISSING:
            selector = None if self._lists is not None else self._selector()  # lists hold no removed rows
            parameters = self.parameters.of(self.filled(width, k), k, selector)
            if len(self._made) > 64:
                self._made.clear()
            self._made[key] = parameters
        with ONE_THREAD if len(vectors) == 1 else SEVERAL_THREADS:
            index = self._single if len(vectors) == 1 else self.faiss
            scores, rows = index.search(vectors, k, params=parameters)
        if (rows[0, -1] if len(rows) == 1 else rows[:, -1].min()) < 0:
            few = np.flatnonzero(rows[:, -1] < 0)
            scores[few], rows[few] = self.compare_all(vectors[few], k)
        return scores, rows

    def search_some(
        self, vectors: np.ndarray, k: int, bitmap: np.ndarray, share: float, width: Width = OWN_WIDTH
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same among some rows only, too many to be compared one by one.

        Args:
            vectors: As for ``search``.
            k: As for ``search``, but no more than are set.
            bitmap: uint8, a bit for each row, the lowest first.
            share: Of the rows that can be found: so many are set.
            width: As for ``search``.
        """
        selector = faiss.IDSelectorBitmap(bitmap)
        filled = self.parameters.filled(width, k, self.rows, share)
        parameters = self.parameters.of(filled, k, selector)
        scores, rows = self.faiss.search(vectors, k, params=parameters)
        if k and rows[:, -1].min() < 0:
            few = np.flatnonzero(rows[:, -1] < 0)
            scores[few], rows[few] = self.compare_all(vectors[few], k, selector)
        return scores, rows

    def compare_all(self, vectors: np.ndarray, k: int, selector: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` most alike rows, of all that the selector lets pass.

        Args:
            vectors: float32 (N, dim), of length 1.
            k: Rows for each.
            selector: FAISS's, of rows that may be found; the default passes all that are alive.

        Returns:
            Scores and rows, both (N, k), by descending score; -1 where there are no more rows.
        """
        selector = selector or self._selector()
        if self.matrix is not None:
            return self.matrix.search(vectors, k, params=faiss.SearchParameters(sel=selector))
        if self._lists is not None:
            widest = Width(nprobe=int(self._lists.nlist), candidates=max(self.rows, 1))
            return self.faiss.search(vectors, k, params=self.parameters.of(widest, k, selector))
        inner = inner_of(self._candidates)
        storage = faiss.downcast_index(inner.storage) if self._graph else inner
        return storage.search(vectors, k, params=faiss.SearchParameters(sel=selector))

    def gathered(self, rows: np.ndarray) -> Any:
        """A FAISS index of some rows' full vectors, in their order; None where they are not kept."""
        return None if self.matrix is None else gathered(self.matrix, rows)

    def _selector(self) -> Any:
        """Of the rows that are there, where FAISS has to be told."""
        if not self._gone:
            return None
        if self._alive is None:
            bits = np.packbits(~self.removed, bitorder='little')
            self._alive = bits, faiss.IDSelectorBitmap(bits)
        return self._alive[1]


def _trained(factory: str, vectors: Vectors) -> Any:
    """FAISS's index of a factory string, empty and trained."""
    index = make_index(factory, vectors.dim)
    if not index.is_trained:
        try:
            train(index, vectors)
        except RuntimeError as error:
            raise InputError(
                f'index {factory!r} cannot be trained on {len(vectors)} vectors: {reason(error)}'
            ) from error
    return index


def _nothing(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((count, 0), np.float32), np.zeros((count, 0), np.int64)
