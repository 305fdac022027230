"""How widely an index of one kind is searched, and FAISS's parameters for that."""

from __future__ import annotations

import math
from typing import Any

import faiss

from mbv1_backbone.retrieval.factories import candidates_of, inner_of
from mbv1_backbone.retrieval.width import Width

__all__ = ['Parameters']

_CANDIDATES = 150  # that are compared exactly, by default
_QUANTIZER_BREADTH = 64  # least breadth of the search among centres that are a graph


class Parameters:
    """The widths that an index has, those that it is searched with, and FAISS's parameters of them.

    Args:
        index: FAISS's.
        own: How widely it is searched where nobody says.

    Attributes:
        own: The same.
    """

    def __init__(self, index: Any, own: Width) -> None:
        self.own = own
        self._candidates = candidates_of(index)
        inner = inner_of(self._candidates)
        self._lists = inner if isinstance(inner, faiss.IndexIVF) else None
        self._graph = isinstance(inner, faiss.IndexHNSW)
        self._refined = isinstance(index, faiss.IndexRefine)

    def limits(self, rows: int) -> Width:
        """The widest search that there is among a number of rows: None for what this kind does not have."""
        return Width(
            nprobe=None if self._lists is None else int(self._lists.nlist),
            ef_search=max(1, rows) if self._graph else None,
            candidates=max(1, rows) if self._refined else None,
        )

    def filled(self, width: Width, k: int, rows: int, share: float = 1.0) -> Width:
        """A width with every value: what it says, or what is stored, or a guess.

        Args:
            width: Values that are wanted; None for the others.
            k: Matches that are wanted.
            rows: Of the index.
            share: Of the rows that may be found: the fewer, the more lists it takes.
        """
        own, limits = self._wider(share), self.limits(rows)
        nprobe = ef_search = candidates = None
        if limits.nprobe is not None:
            lists = own.nprobe or max(8, limits.nprobe // 8)
            nprobe = min(width.nprobe or lists, limits.nprobe)
        if limits.ef_search is not None:
            ef_search = width.ef_search or min(max(own.ef_search or 64, k), limits.ef_search)
        if limits.candidates is not None:
            candidates = max(width.candidates or own.candidates or _CANDIDATES, 2 * k)
        return Width(nprobe, ef_search, candidates)

    def _wider(self, share: float) -> Width:
        """The own width where a share of the rows matches: in proportion."""
        own = self.own
        nprobe, ef_search = (value and math.ceil(value / share) for value in (own.nprobe, own.ef_search))
        return Width(nprobe, ef_search, own.candidates)

    def of(self, width: Width, k: int, selector: Any = None) -> Any:
        """FAISS's parameters of a search.

        Args:
            width: With every value that this kind has.
            k: Matches that are wanted.
            selector: FAISS's, of rows that may be found; None for all.
        """
        options: dict[str, Any] = {} if selector is None else dict(sel=selector)
        if self._lists is not None:
            quantizer, lists = faiss.downcast_index(self._lists.quantizer), width.nprobe or 1
            if isinstance(quantizer, faiss.IndexHNSW):
                breadth = max(_QUANTIZER_BREADTH, 2 * lists)
                options['quantizer_params'] = faiss.SearchParametersHNSW(efSearch=breadth)
            elif isinstance(quantizer, faiss.IndexRefine):  # no more centres than there are
                factor = max(1.0, min(float(quantizer.k_factor), self._lists.nlist / lists))
                options['quantizer_params'] = faiss.IndexRefineSearchParameters(k_factor=factor)
            found = faiss.SearchParametersIVF(nprobe=width.nprobe, **options)
        elif self._graph:
            found = faiss.SearchParametersHNSW(efSearch=width.ef_search, **options)
        else:
            found = faiss.SearchParameters(**options) if options else None
        if isinstance(self._candidates, faiss.IndexPreTransform):
            found = faiss.SearchParametersPreTransform(index_params=found)
        if not self._refined:
            return found
        factor = max(1.0, (width.candidates or k) / k)
        return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=found)
