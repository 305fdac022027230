"""Making a gallery's index of its entries, and setting how widely it is searched."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError
from mbv1_backbone.retrieval.catalog import Catalog
from mbv1_backbone.retrieval.factories import choose_factory, usable_factory
from mbv1_backbone.retrieval.index import SearchIndex
from mbv1_backbone.retrieval.recall import RecallProbe
from mbv1_backbone.retrieval.saved import IndexState
from mbv1_backbone.retrieval.store import Store
from mbv1_backbone.retrieval.width import GATHERED

__all__ = ['RECALL', 'build_index', 'measure', 'stored_vectors', 'wanted_factory']

RECALL = 0.99  # of the 10 truly nearest, that an index is tuned to find
_K = 10
_PROBES = 200
_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02)  # of the rows, that widths of filtered searches are measured for
_SEED = 1234
_LEAST_PROBED = 8  # lists
_LEAST_BREADTH = 64  # of the search of a graph
_SCATTERED = 0.25  # share of the lists: when more must be looked through, few lists serve better


def build_index(store: Store, old: IndexState | None) -> IndexState:
    """An index and a catalog made of the store as it is now.

    Args:
        store: Of the gallery.
        old: The index before, which tells whether the vectors fall into clusters; None if not known.

    Raises:
        DamagedFileError: If an entry is damaged or missing.
    """
    with store.reading():
        stamp = store.stamp()
        catalog, vectors = _read(store, stamp.entries)
        factory = wanted_factory(store, stamp.entries, old)
        fixed = store.meta('factory') is not None
    built = IndexState(
        SearchIndex.build(factory, vectors), catalog, stamp.change, stamp.state, {}, stamp.calibration
    )
    measure(built, store, lambda rows: vectors if rows is None else vectors[rows])
    limits, width = built.index.limits(), built.index.width
    scattered = limits.nprobe is not None and (width.nprobe or 0) > _SCATTERED * limits.nprobe
    if not fixed and scattered:
        fewer = choose_factory(stamp.entries, store.dim, store.meta('bytes_per_vector'), clustered=False)
        if fewer != built.index.factory:
            built.index, built.measured = SearchIndex.build(fewer, vectors), {}
            measure(built, store, lambda rows: vectors if rows is None else vectors[rows])
    return built


def wanted_factory(store: Store, count: int, old: IndexState | None) -> str:
    """The factory string that a gallery's index should have for a number of entries.

    Args:
        store: Of the gallery.
        count: Entries.
        old: The index that stands, None where there is none.
    """
    fixed = store.meta('factory')
    if fixed is not None:
        return usable_factory(fixed, store.dim, count)
    lists = None if old is None else old.index.limits().nprobe
    clustered = lists is None or old is None or lists > math.sqrt(old.index.trained_for)
    return choose_factory(count, store.dim, store.meta('bytes_per_vector'), clustered)


def measure(
    standing: IndexState, store: Store, vectors_of: Callable[[np.ndarray | None], np.ndarray] | None = None
) -> None:
    """Tune how widely an index is searched, and keep what was measured beside it.

    Args:
        standing: The index.
        store: Of the gallery.
        vectors_of: Vectors (N, dimension) of rows, of all that are there for None; read where they are kept.
    """
    index = standing.index
    if index.exact or index.count < 2:
        standing.measured = {}
        return
    read = vectors_of or stored_vectors(standing, store)
    tuned = RecallProbe(index, _K, _PROBES, read).narrowest(RECALL)
    nprobe, ef_search = tuned.width.nprobe, tuned.width.ef_search
    index.width = replace(
        tuned.width,  # the probes are alike to those of training: others get some room
        nprobe=nprobe and min(max(nprobe, _LEAST_PROBED), index.limits().nprobe or 1),
        ef_search=ef_search and max(ef_search, _LEAST_BREADTH),
    )
    index.filtered = _filtered_widths(index, read)
    standing.measured = dict(
        all=tuned.recall,
        newest=tuned.newest,
        entries=index.count,
        lists_at_training=standing.measured.get('lists_at_training', index.width.nprobe),
        filtered={str(share): nprobe for share, nprobe in index.filtered.items()},
    )


def _filtered_widths(
    index: SearchIndex, vectors_of: Callable[[np.ndarray | None], np.ndarray]
) -> dict[float, int]:
    """Lists to look through where a share of the rows matches, too many to be compared one by one."""
    found: dict[float, int] = {}
    present = np.flatnonzero(~index.removed)
    for share in _SHARES:
        if share * len(present) <= GATHERED or index.matrix is None or index.limits().nprobe is None:
            break
        drawn = np.random.default_rng(_SEED).choice(len(present), round(share * len(present)), replace=False)
        probe = RecallProbe(index, _K, _PROBES, vectors_of, present[np.sort(drawn)])
        found[share] = probe.narrowest(RECALL).width.nprobe or 1
    return found


def stored_vectors(standing: IndexState, store: Store) -> Callable[[np.ndarray | None], np.ndarray]:
    """A function that gives vectors (N, dimension) of rows of an index; of all that are there for None."""

    def read(rows: np.ndarray | None) -> np.ndarray:
        index = standing.index
        wanted = np.flatnonzero(~index.removed) if rows is None else rows
        if (some := index.gathered(wanted)) is not None:
            return some.reconstruct_n(0, len(wanted))
        return store.vectors(standing.catalog.ids[wanted])

    return read


def _read(store: Store, count: int) -> tuple[Catalog, np.ndarray]:
    catalog, seen = Catalog(), 0
    vectors: np.ndarray = np.empty((count, store.dim), np.float32)
    names = []
    for entry, vector in store.select():
        if seen < count:
            vectors[seen] = vector
            names.append((entry.id, entry.identity, entry.file))
        seen += 1
    if seen != count:
        raise DamagedFileError(f'{store.path}: damaged: {seen} of {count} entries are there')
    catalog.add(names)
    return catalog, vectors
