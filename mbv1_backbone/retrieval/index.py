"""The search index: which kind for how many vectors, training it, searching it, and its file.

Kinds follow https://github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, BinaryIO

import faiss
import numpy as np
from faiss.contrib.clustering import two_level_clustering

from mbv1_backbone.common.errors import InputError

FLAT_LIMIT = 50_000  # vectors up to which comparing with all is best
OUTGROWN = 2  # times the vectors it was trained for: then an index is trained anew
_GONE = 0.1  # share of removed vectors that an index passes over before it is built anew
_GONE_LEAST = 100
_LEAST_TRAINING = 39  # vectors a centre that FAISS asks for
_TRAINING = 64  # vectors a centre that an index is trained on
_TWO_LEVELS = 256  # lists from which centres are found in two steps
_SEED = 1234
_PIECE = 1 << 20  # bytes written at once


def choose_factory(count: int, dim: int, bytes_per_vector: int | None = None) -> str:
    """FAISS's factory string for a number of vectors.

    Args:
        count: Vectors that the index will hold.
        dim: Values in a vector.
        bytes_per_vector: Memory that may be spent on a vector; None for all that the full values need.

    Raises:
        InputError: If not even the smallest code fits.

    Example:
        >>> choose_factory(10_000, 128), choose_factory(1_000_000, 128)
        ('Flat', 'IVF8192,Flat')
        >>> choose_factory(1_000_000, 128, bytes_per_vector=140)
        'IVF8192,SQ8'
    """
    code = _code(dim, bytes_per_vector)
    if count <= FLAT_LIMIT:
        return code
    for lists in (262144, 65536):
        if count >= _LEAST_TRAINING * lists:
            return f'IVF{lists}_HNSW32,{code}'
    lists = 2 ** round(math.log2(8 * math.sqrt(count)))
    while _LEAST_TRAINING * lists > count:
        lists //= 2
    return f'IVF{lists},{code}'


def _code(dim: int, bytes_per_vector: int | None) -> str:
    if bytes_per_vector is None or bytes_per_vector >= 4 * dim:
        return 'Flat'
    if bytes_per_vector >= dim:
        return 'SQ8'
    if bytes_per_vector >= dim // 4 and dim % 2 == 0:
        return f'PQ{dim // 2}x4fs'
    raise InputError(f'{bytes_per_vector} bytes a vector are too few for {dim} values: at least {dim // 4}')


def usable_factory(factory: str, dim: int, count: int) -> str:
    """``factory``, or ``'Flat'`` while there are too few vectors to train it: 39 a centre.

    Raises:
        InputError: If FAISS does not know the string for vectors of this many values.
    """
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError) as error:
        reason = _reason(error)
        raise InputError(f'index {factory!r} is not one of FAISS for {dim} values: {reason}') from error
    return factory if index.is_trained or count >= _LEAST_TRAINING * _centres(index) else 'Flat'


class SearchIndex:
    """A FAISS index with ids, for cosines of normalised vectors.

    Searches may run at the same time; changes may not run beside anything.

    Attributes:
        faiss: FAISS's index.
        factory: Its string.
        trained_for: Vectors that it was trained for.
        removable: Whether FAISS can take vectors out of it; of graphs (HNSW) it cannot.
    """

    def __init__(self, index: Any, factory: str, trained_for: int) -> None:
        self.faiss = index
        self.factory = factory
        self.trained_for = trained_for
        self.removable = _can_remove(index)
        self._lists = _lists(index)  # looked for once: a search is short
        self._graph = self._lists is None and isinstance(faiss.downcast_index(index.index), faiss.IndexHNSW)
        self._gone: np.ndarray = np.zeros(0, np.int64)

    @classmethod
    def build(cls, factory: str, ids: np.ndarray, vectors: np.ndarray) -> SearchIndex:
        """Train an index on a sample of vectors (N, dimension) and add them all.

        With too few vectors to train the wanted index (see ``usable_factory``) it is a flat one for now.

        Raises:
            InputError: If FAISS does not know the factory string, or cannot train it.
        """
        factory = usable_factory(factory, vectors.shape[1], len(vectors))
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if _lists(index) is None:
            index = faiss.IndexIDMap2(index)
        if not index.is_trained:
            try:
                _train(index, _sample(vectors, _centres(index)))
            except RuntimeError as error:
                raise InputError(
                    f'index {factory!r} cannot be trained on {len(vectors)} vectors: {_reason(error)}'
                ) from error
        built = cls(index, factory, len(vectors))
        built.add(ids, vectors)
        return built

    @property
    def count(self) -> int:
        """Vectors that can be found."""
        return int(self.faiss.ntotal) - len(self._gone)

    def outgrown(self) -> bool:
        """Whether it was trained for far fewer vectors than it holds, or holds too many removed ones."""
        passed_over = len(self._gone) > max(_GONE_LEAST, _GONE * self.count)
        return passed_over or self.count > OUTGROWN * max(self.trained_for, 1)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add vectors (N, dimension) under new ids."""
        if len(ids):
            self.faiss.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(ids, np.int64))

    def remove(self, ids: np.ndarray) -> None:
        """Remove ids; where FAISS cannot, they are passed over until the index is built anew."""
        if not len(ids):
            return
        if self.removable:
            self.faiss.remove_ids(np.asarray(ids, np.int64))
        else:
            self._gone = np.union1d(self._gone, ids)

    def search(
        self,
        vectors: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` most alike of each vector.

        Args:
            vectors: float32 (N, dimension), of length 1.
            k: How many; more than there are gives those that there are.
            among: Ids to look at; None for all.
            nprobe: Lists of an IVF index to look through.
            ef_search: Breadth of an HNSW search.

        Returns:
            Scores (N, k) and ids (N, k), by falling score; where there are fewer, ids are -1.
        """
        wider = min(k + len(self._gone), int(self.faiss.ntotal))
        if wider == 0 or not len(vectors) or (among is not None and not len(among)):
            return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
        parameters = self._parameters(among, nprobe, ef_search)
        if self._lists is not None:  # all cores for one probe: its lists are shared out
            self._lists.parallel_mode = int(len(vectors) == 1)
        scores, ids = self.faiss.search(vectors, wider, params=parameters)
        if len(self._gone):
            hidden = np.isin(ids, self._gone)
            scores[hidden], ids[hidden] = -np.inf, -1
            order = np.argsort(-scores, axis=1, kind='stable')
            scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
        return scores[:, :k], ids[:, :k]

    def _parameters(self, among: np.ndarray | None, nprobe: int | None, ef_search: int | None) -> Any:
        selector = None if among is None else faiss.IDSelectorBatch(np.asarray(among, np.int64))
        options: dict[str, Any] = {} if selector is None else dict(sel=selector)
        if (lists := self._lists) is not None:
            return faiss.SearchParametersIVF(
                nprobe=min(nprobe or self.default_nprobe(), lists.nlist), **options
            )
        if self._graph:
            return faiss.SearchParametersHNSW(efSearch=ef_search or 64, **options)
        return faiss.SearchParameters(**options) if options else None

    def default_nprobe(self) -> int:
        """Lists to look through where nobody says: one in 32, at least 8."""
        lists = self._lists
        return 1 if lists is None else max(8, lists.nlist // 32)

    def breadth(self) -> tuple[str, int] | None:
        """What widens a search, ``nprobe`` or ``ef_search``, and its greatest value; None if exact."""
        if (lists := self._lists) is not None:
            return 'nprobe', int(lists.nlist)
        return ('ef_search', max(1, int(self.faiss.ntotal))) if self._graph else None

    def write(self, file: BinaryIO) -> str:
        """Write the index as FAISS does, piece by piece; the SHA-256 of what was written."""
        digest = hashlib.sha256()

        def write(piece: bytes) -> int:
            digest.update(piece)
            file.write(piece)
            return len(piece)

        faiss.write_index(self.faiss, faiss.PyCallbackIOWriter(write, _PIECE))
        return digest.hexdigest()

    @classmethod
    def read(cls, content: np.ndarray, factory: str, trained_for: int, dim: int, count: int) -> SearchIndex:
        """Read what ``write`` wrote, as bytes; its checksum must have been checked before.

        Raises:
            InputError: If it cannot be read, or is not the index it should be.
        """
        faiss.set_deserialization_vector_byte_limit(max(4 * len(content), 1 << 20))
        faiss.set_deserialization_loop_limit(max(len(content), 1 << 16))
        try:
            index = faiss.deserialize_index(content)
        except (RuntimeError, MemoryError) as error:
            raise InputError(f'not a readable index: {_reason(error)}') from error
        if (index.d, index.ntotal, index.metric_type) != (dim, count, faiss.METRIC_INNER_PRODUCT):
            raise InputError(f'index holds {index.ntotal} vectors of {index.d} values, not {count} of {dim}')
        return cls(index, factory, trained_for)


def _can_remove(index: Any) -> bool:
    """Whether FAISS can take vectors out of it; of graphs it cannot."""
    try:
        index.remove_ids(np.zeros(0, np.int64))
    except RuntimeError:
        return False
    return True


def _lists(index: Any) -> Any:
    """The IVF index that this is, itself or behind a transformation of its vectors; None of others."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return inner if isinstance(inner, faiss.IndexIVF) else None


def _centres(index: Any) -> int:
    """Centres that training looks for: lists of an IVF index, values of a product quantiser."""
    inner = _lists(index) or faiss.downcast_index(
        index.index if isinstance(index, faiss.IndexIDMap) else index
    )
    centres = [int(inner.nlist)] if isinstance(inner, faiss.IndexIVF) else [1]
    if hasattr(inner, 'pq'):
        centres.append(int(inner.pq.ksub))
    return max(centres)


def _train(index: Any, sample: np.ndarray) -> None:
    """Train an index.

    The centres of many lists are found in two steps and kept on the sphere: that is far sooner done than in
    one, and at 1 M vectors finds .94 of the nearest in 64 of 4096 lists, where FAISS's own way finds .90.
    """
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexIVF) and inner.nlist >= _TWO_LEVELS:
        first = round(math.sqrt(inner.nlist))
        options = dict(spherical=True, seed=_SEED, min_points_per_centroid=1)  # one: no warnings
        centres, _ = two_level_clustering(sample, first, inner.nlist, **options)
        inner.quantizer.add(centres)
    index.train(sample)


def _sample(vectors: np.ndarray, centres: int) -> np.ndarray:
    """Vectors to train on, drawn without order."""
    most = max(_TRAINING * centres, 10_000)
    if len(vectors) <= most:
        return vectors
    rows = np.random.default_rng(_SEED).choice(len(vectors), most, replace=False)
    return vectors[np.sort(rows)]


def _reason(error: Exception) -> str:
    """The last part of FAISS's message, which begins with its source file."""
    return str(error).strip().splitlines()[-1].rpartition('Error: ')[2][:200]
