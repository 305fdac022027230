"""Accuracy of classifiers against their cost: the paper's Figures 4 and 5, and how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mbv1_backbone.common.files import atomic_file

__all__ = ['PAPER', 'Measured', 'draw_trade_off']


class Measured(NamedTuple):
    """A classifier's accuracy and cost.

    Attributes:
        name: Of it.
        top1: Share of images whose likeliest class is right.
        top5: Share of images whose class is among the five likeliest; None where it is not known.
        mult_adds: Of one image.
        params: Its learnable values.
    """

    name: str
    top1: float
    top5: float | None
    mult_adds: float
    params: float


# arXiv:1704.04861, Tables 4 to 9: on ImageNet's validation set.
PAPER: tuple[Measured, ...] = (
    Measured('1.0-224', 0.706, None, 569e6, 4.2e6),
    Measured('1.0-192', 0.691, None, 418e6, 4.2e6),
    Measured('1.0-160', 0.672, None, 290e6, 4.2e6),
    Measured('1.0-128', 0.644, None, 186e6, 4.2e6),
    Measured('0.75-224', 0.684, None, 325e6, 2.6e6),
    Measured('0.5-224', 0.637, None, 149e6, 1.3e6),
    Measured('0.5-160', 0.602, None, 76e6, 1.32e6),
    Measured('0.25-224', 0.506, None, 41e6, 0.5e6),
    Measured('shallow 1.0-224', 0.653, None, 307e6, 2.9e6),
    Measured('full 1.0-224', 0.717, None, 4866e6, 29.3e6),
)


def draw_trade_off(
    found: Sequence[Measured], data: str, path: str | Path, paper: Sequence[Measured] = PAPER
) -> Path:
    """Draw accuracy against mult-adds (Figure 4) and against parameters (Figure 5), both logarithmic.

    Args:
        found: Classifiers, measured here.
        data: What they were measured on, for the legend.
        path: PNG file to write.
        paper: Others beside them, on ImageNet's validation set.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout='constrained')
    FigureCanvasAgg(figure)
    series = [(found, f'here, on {data}', 'tab:blue', 'o', 0)]
    series += [(paper, "the paper's, on ImageNet's validation set", 'tab:gray', 's', -35)] if paper else []
    for axes, cost, label in zip(
        figure.subplots(1, 2, sharey=True), ('mult_adds', 'params'), ('mult-adds', 'parameters'), strict=True
    ):
        for points, legend, colour, marker, angle in series:
            _scatter(axes, points, cost, angle, dict(label=legend, color=colour, marker=marker))
        axes.set(xscale='log', xlabel=f'million {label}', ylim=(min(0.4, *[p.top1 - 0.05 for p in found]), 1))
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.margins(x=0.25)
        axes.grid(alpha=0.3, which='both')
    axes.legend(loc='lower right', fontsize='small')
    figure.axes[0].set_ylabel('top-1 accuracy')
    with atomic_file(path) as file:
        figure.savefig(file, dpi=110, format='png')
    return Path(path)


def _scatter(axes: Any, points: Sequence[Measured], cost: str, angle: float, style: dict[str, Any]) -> None:
    """Points with their names, which are written at an angle: the paper's lie close together."""
    costs = [getattr(point, cost) / 1e6 for point in points]
    axes.plot(costs, [point.top1 for point in points], linestyle='none', **style)
    places: Counter[tuple[float, float]] = Counter()
    for point, x in zip(points, costs, strict=True):
        place = (float(f'{x:.2g}'), round(point.top1, 2))
        below, places[place] = places[place], places[place] + 1  # names at one place: one below the other
        axes.annotate(
            point.name,
            (x, point.top1),
            textcoords='offset points',
            xytext=(4, -2) if angle else (-7, -3 - 10 * below),
            parse_math=False,  # a name may have a dollar sign
            rotation=angle,
            ha='left' if angle else 'right',
            rotation_mode='anchor',
            va='top' if angle else 'bottom',
            fontsize=8,
            color=style['color'],
        )
