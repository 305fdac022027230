"""How far from the truth photographs are placed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from typing_extensions import override

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.classification.sphere import great_circle

__all__ = ['DISTANCES', 'PlacesMetric', 'shares_within']

DISTANCES = (1, 25, 200, 750, 2500)  # kilometres: street, city, region, country, continent (paper, Table 11)


@METRICS.register_module()
class PlacesMetric(BaseMetric):
    """Percent of photographs placed within 1, 25, 200, 750 and 2500 km of the truth (paper, Table 11).

    A photograph is placed where those of its most probable cell were taken on the average. Beside it stands
    what is reached without looking: the place of the cell with the most training photographs (``prior``).

    Args:
        cells: File of ``mbv1 cells``.
        data_root: What it is relative to.
        baselines: Report the median distance and the prior, too; between epochs of training they only repeat
            themselves, and spoil the scale of its curves.
        kwargs: mmengine's.
    """

    default_prefix = 'places'

    def __init__(
        self, cells: str = 'cells.json', data_root: str = '', baselines: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.cells_file = Path(data_root, cells)
        self.partition = Partition.load(self.cells_file)
        self.baselines = baselines

    @override
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.results += [
            (sample['img_path'], int(sample['pred_label']), sample['latitude'], sample['longitude'])
            for sample in data_samples
        ]

    @override
    def compute_metrics(self, results: list[tuple[str, int, float, float]]) -> dict[str, float]:
        table = {path: rest for path, *rest in results}  # processes may have filled up with the same images
        rows = np.array(list(table.values()), np.float64)
        truth = rows[:, 1:]
        placed = great_circle(self.partition.places[rows[:, 0].astype(np.int64)], truth)
        found = shares_within(placed, 'within')
        if self.baselines:
            found['median_km'] = float(np.median(placed))
            found.update(shares_within(great_circle(self.partition.prior[None], truth), 'prior'))
        return found


def shares_within(kilometres: np.ndarray, name: str) -> dict[str, float]:
    """Percent of distances that are not greater than each of ``DISTANCES``: ``NAME_25km`` and so on.

    Args:
        kilometres: (N,), at least one.
        name: Before each.
    """
    return {f'{name}_{limit}km': 100 * float((kilometres <= limit).mean()) for limit in DISTANCES}
