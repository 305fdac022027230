"""Mean average precision of attribute networks beside their cost, as they are shrunk (paper, Table 12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mbv1_backbone.common.files import atomic_file

__all__ = ['PAPER', 'CostedRun', 'draw_costs']


class CostedRun(NamedTuple):
    """A network's mean average precision and cost.

    Attributes:
        name: Variant, width and resolution, as ``1.0-224``.
        targets: What it was trained on: ``probabilities`` of a teacher, or ``labels``.
        epochs: Of the training.
        mean_ap: 0..1, of the last epoch.
        mult_adds: Of one image.
        params: Its learnable values.
    """

    name: str
    targets: str
    epochs: int
    mean_ap: float
    mult_adds: float
    params: float


# arXiv:1704.04861, Table 12, on Google's own photographs; the baseline is the network that was distilled.
PAPER: tuple[CostedRun, ...] = (
    CostedRun('1.0-224', 'probabilities', 0, 0.887, 568e6, 3.2e6),
    CostedRun('0.5-224', 'probabilities', 0, 0.881, 149e6, 0.8e6),
    CostedRun('0.25-224', 'probabilities', 0, 0.872, 45e6, 0.2e6),
    CostedRun('1.0-128', 'probabilities', 0, 0.881, 185e6, 3.2e6),
    CostedRun('0.5-128', 'probabilities', 0, 0.877, 48e6, 0.8e6),
    CostedRun('0.25-128', 'probabilities', 0, 0.864, 15e6, 0.2e6),
    CostedRun('baseline', 'labels', 0, 0.869, 1600e6, 7.5e6),
)
_STYLES = {
    'probabilities': ('tab:blue', 'o', "a teacher's probabilities"),
    'labels': ('tab:orange', 's', 'labels'),
}


def draw_costs(runs: Sequence[CostedRun], path: str | Path, paper: Sequence[CostedRun] = PAPER) -> Path:
    """Draw mean average precision against mult-adds, a curve for each kind of targets; the paper's beside it.

    Args:
        runs: Measured here, at least one.
        path: PNG file to write.
        paper: Of the paper; empty draws one panel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [('here', runs), *([("the paper's Table 12 (other photographs)", paper)] if paper else [])]
    figure = Figure(figsize=(6 * len(panels), 5), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (title, found) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _curves(axes, found)
        values = [run.mean_ap for run in found]
        axes.set(title=title, xscale='log', xlabel='million mult-adds', ylabel='mean average precision')
        axes.set_ylim(min(values) - 0.06, max(values) + 0.06)
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.xaxis.set_minor_formatter('')
        axes.set_xlim(5, 4000)
        axes.set_xticks([10, 20, 50, 100, 200, 500, 1000])
        axes.grid(alpha=0.3, which='both')
        axes.legend(loc='lower right', fontsize='small')
    with atomic_file(path) as file:
        figure.savefig(file, dpi=110, format='png')
    return Path(path)


def _curves(axes: Any, runs: Sequence[CostedRun]) -> None:
    by_targets: dict[str, list[CostedRun]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.mult_adds):
        by_targets[run.targets].append(run)
    for targets, found in by_targets.items():
        colour, marker, label = _STYLES[targets]
        costs = [run.mult_adds / 1e6 for run in found]
        axes.plot(
            costs, [run.mean_ap for run in found], color=colour, marker=marker, label=f'trained on {label}'
        )
        above = targets == 'probabilities'
        for run, cost in zip(found, costs, strict=True):
            axes.annotate(
                f'{run.name}, {run.epochs} epochs' if run.epochs else run.name,
                (cost, run.mean_ap),
                textcoords='offset points',
                xytext=(2, 6 if above else -6),
                ha='left',
                va='bottom' if above else 'top',
                rotation=50 if above else -50,
                rotation_mode='anchor',
                fontsize=7,
                color=colour,
            )
