"""IDF1 of tracks, by the reference: TrackEval (https://github.com/JonathonLuiten/TrackEval)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ['idf1']

Tracks = tuple[np.ndarray, np.ndarray]  # boxes float (N, 4), x1, y1, x2, y2, and the number of each, int (N,)


def idf1(truth: Sequence[Tracks], found: Sequence[Tracks]) -> float:
    """The F1 of boxes that have their thing's number (Ristani et al. 2016, arXiv:1609.01775).

    Args:
        truth: Of each frame the boxes of the things, and their numbers.
        found: Of each frame the boxes of the tracks, and their numbers.
    """
    from trackeval.datasets._base_dataset import _BaseDataset
    from trackeval.metrics import Identity

    things, tracks = (sorted({n for _, ns in frames for n in ns.tolist()}) for frames in (truth, found))
    data = dict(
        num_gt_dets=sum(len(ns) for _, ns in truth),
        num_tracker_dets=sum(len(ns) for _, ns in found),
        num_gt_ids=len(things),
        num_tracker_ids=len(tracks),
        gt_ids=[np.array([things.index(n) for n in ns.tolist()], int) for _, ns in truth],
        tracker_ids=[np.array([tracks.index(n) for n in ns.tolist()], int) for _, ns in found],
        similarity_scores=[
            _BaseDataset._calculate_box_ious(a.astype(float), b.astype(float), 'x0y0x1y1')  # noqa: SLF001
            for (a, _), (b, _) in zip(truth, found, strict=True)
        ],
    )
    return float(Identity({'PRINT_CONFIG': False}).eval_sequence(data)['IDF1'])
