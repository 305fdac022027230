"""Several galleries that answer as one: people spread over machines or disks, or too many for one index."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.answering import CALIBRATED
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.records import Match

__all__ = ['ShardMatch', 'Shards']


@dataclass(frozen=True)
class ShardMatch(Match):
    """An entry that was found in one of several galleries.

    Attributes:
        shard: The gallery's number; the id is this gallery's.
    """

    shard: int


class Shards:
    """Galleries of one model, searched side by side.

    Each is a gallery of its own: it is added to, calibrated, verified and merged like any other. A threshold
    must be given where it matters: one that was calibrated on a part is not that of the whole.

    Example:
        >>> shards = Shards([Gallery('a'), Gallery('b')])  # doctest: +SKIP
        >>> shards.search(probes, k=5, threshold=0.45)[0][0].shard  # doctest: +SKIP
        1
    """

    def __init__(self, galleries: Sequence[Gallery]) -> None:
        """Take open galleries.

        Raises:
            InputError: If there are none, or one's model, preprocessing or dimension is another's.
        """
        if not galleries:
            raise InputError('shards must be at least one gallery')
        for other in galleries[1:]:
            galleries[0].check_model_identity(other.model_identity, str(other.folder))
        self.galleries = list(galleries)
        self._threads = ThreadPoolExecutor(len(self.galleries))

    def __len__(self) -> int:
        return sum(len(gallery) for gallery in self.galleries)

    def search(
        self, vectors: Any, k: int = 5, threshold: float | None = None, **search: Any
    ) -> list[list[ShardMatch]]:
        """The ``k`` most alike entries of each embedding, of all galleries.

        Args:
            vectors: (N, dimension), normalised here.
            k: At least 1.
            threshold: Lowest score; None gives all.
            search: ``identity``, ``metadata``, ``nprobe``, ``ef_search`` as for ``Gallery.search``.

        Raises:
            InputError: If a value is wrong.
        """
        if threshold == CALIBRATED:
            raise InputError('a threshold of the whole must be given: those calibrated are of its parts')

        def ask(gallery: Gallery) -> Any:
            return gallery.search(vectors, k, threshold, **search)

        return [self._best(parts, k) for parts in zip(*self._threads.map(ask, self.galleries), strict=True)]

    @staticmethod
    def _best(parts: Sequence[Any], k: int) -> list[ShardMatch]:
        scores = np.concatenate([part.scores for part in parts])
        places = [(shard, i) for shard, part in enumerate(parts) for i in range(len(part))]
        best = [places[i] for i in np.argsort(-scores, kind='stable')[:k]]
        return [ShardMatch(**vars(parts[shard][i]), shard=shard) for shard, i in best]

    def close(self) -> None:
        """Close the galleries."""
        self._threads.shutdown()
        for gallery in self.galleries:
            gallery.close()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
