"""How widely an index is searched."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['GATHERED', 'MEASURED_K', 'OWN_WIDTH', 'Width']


@dataclass(frozen=True)
class Width:
    """How widely to search: more finds more of the truly nearest, and takes longer.

    Attributes:
        nprobe: Lists of an IVF index to look through.
        ef_search: Breadth of the search of an HNSW graph.
        candidates: Entries of short codes that are compared exactly.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    candidates: int | None = None


GATHERED = 20_000  # matching entries up to which a filtered search compares with each of them
MEASURED_K = 10  # nearest, of which an index is tuned to find a share
OWN_WIDTH = Width()  # of the index itself
