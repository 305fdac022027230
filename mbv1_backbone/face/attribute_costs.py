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
_LINES = {'224': '-', '128': '--'}


def draw_costs(runs: Sequence[CostedRun], path: str | Path, paper: Sequence[CostedRun] = PAPER) -> Path:
    """Draw mean average precision against mult-adds; the paper's beside it.

    A curve is of one kind of targets and one resolution; its points are named by their width.

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
    """A curve for each kind of targets and resolution; networks of another depth stand alone, hollow."""
    by_curve: dict[tuple[str, str, str], list[CostedRun]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.mult_adds):
        variant, network = ('', *run.name.split())[-2:]
        by_curve[run.targets, variant, network.partition('-')[2]].append(run)
    for (targets, variant, size), found in sorted(by_curve.items()):
        colour, marker, label = _STYLES[targets]
        axes.plot(
            [run.mult_adds / 1e6 for run in found],
            [run.mean_ap for run in found],
            color=colour,
            marker=marker,
            markerfacecolor='white' if variant else colour,
            linestyle=_LINES.get(size, '-'),
            label=', '.join(part for part in (label, variant, f'{size} pixels' if size else '') if part),
        )
        above = targets == 'probabilities'
        for run in found:
            axes.annotate(
                run.name.removesuffix(f'-{size}'),
                (run.mult_adds / 1e6, run.mean_ap),
                textcoords='offset points',
                xytext=(0, 7 if above else -7),
                ha='center',
                va='bottom' if above else 'top',
                fontsize=7,
                color=colour,
            )
