"""Figures of benchmarks as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from mbv1_backbone.common.files import atomic_file

_OURS, _THEIRS = 'tab:blue', 'tab:gray'


def bars(
    panels: Mapping[str, Mapping[str, float]],
    label: str,
    title: str,
    path: str | Path,
    limits: Mapping[str, float] | None = None,
    log: bool = False,
) -> Path:
    """Bars, one panel beside the other; ours in blue.

    Args:
        panels: Title of each -> name -> value.
        label: What the values are.
        title: Of the whole.
        path: PNG file.
        limits: Title of a panel -> a value that is marked by a line.
        log: Over a logarithmic axis.
    """
    count = max(map(len, panels.values()))
    figure = Figure(figsize=(1.5 + 5 * len(panels), 0.34 * count + 1.4), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (name, values) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        colours = [_OURS if n.startswith(('ours', 'files')) else _THEIRS for n in values]
        drawn = axes.barh(list(values), list(values.values()), color=colours)
        axes.bar_label(drawn, fmt=lambda v: f'{v:.0f}' if v >= 100 else f'{v:.3g}', padding=3)
        axes.set(xscale='log' if log else 'linear', xlabel=label, title=name)
        axes.margins(x=0.2)
        if limits and name in limits:
            axes.axvline(limits[name], color='tab:red', linestyle='--')
            told = f' limit of the arithmetic, {limits[name]:.2g}'
            axes.text(limits[name], -0.7, told, color='tab:red', va='center')
    axes.invert_yaxis()
    figure.suptitle(title)
    return _saved(figure, path)


def plane(found: Mapping[str, Any], title: str, path: str | Path) -> Path:
    """Milliseconds against mult-adds over width and resolution, with the limit of the arithmetic."""
    figure = Figure(figsize=(7.5, 5.5), layout='constrained')
    FigureCanvasAgg(figure)
    axes, cells = figure.subplots(), found['cells']
    for width in dict.fromkeys(cell['width'] for cell in cells):
        of_width = [cell for cell in cells if cell['width'] == width]
        axes.plot(
            [cell['mult_adds'] / 1e6 for cell in of_width],
            [cell['milliseconds'] for cell in of_width],
            marker='o',
            label=f'width {width:g}',
        )
        for cell in of_width:
            place = (cell['mult_adds'] / 1e6, cell['milliseconds'])
            axes.annotate(cell['side'], place, textcoords='offset points', xytext=(5, -10), fontsize=8)
    ends = [min(cell['mult_adds'] for cell in cells), max(cell['mult_adds'] for cell in cells)]
    limit = [1000 * end / found['mult_adds_a_second'] for end in ends]
    axes.plot([end / 1e6 for end in ends], limit, 'r--', label='limit: a large matrix product')
    axes.set(
        xscale='log',
        yscale='log',
        xlabel='million mult-adds',
        ylabel=f'milliseconds an image, batch {found["batch"]}',
        title=title,
    )
    for axis, ticks in (
        (axes.xaxis, (10, 20, 50, 100, 200, 500)),
        (axes.yaxis, (0.1, 0.2, 0.5, 1, 2, 5, 10)),
    ):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which='both', alpha=0.3)
    axes.legend()
    return _saved(figure, path)


def recall_curves(panels: Mapping[str, Mapping[str, Any]], title: str, path: str | Path) -> Path:
    """Recall against CPU time, a panel a data set; a ring marks the cheapest setting that reaches .99.

    Args:
        panels: Title of each -> engine -> ``curve``, a list of (microseconds a query, recall), and
            ``chosen``, the place in it that is marked or None.
        title: Of the whole.
        path: PNG file.
    """
    names = list(dict.fromkeys(['gallery', *(name for engines in panels.values() for name in engines)]))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1 + 4.6 * columns, 0.9 + 3.6 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, engines) in zip(places, panels.items(), strict=False):
        for engine, found in engines.items():
            colour = _OURS if engine == 'gallery' else f'C{names.index(engine)}'
            curve = found['curve']
            axes.plot(*zip(*curve, strict=True), marker='.', color=colour, label=engine)
            if found['chosen'] is not None:
                axes.plot(*curve[found['chosen']], marker='o', markersize=10, fillstyle='none', color=colour)
        axes.axhline(0.99, color='grey', linestyle=':')
        axes.set(xscale='log', ylim=(0.9, 1.002), title=name, xlabel='CPU time, microseconds a query')
        axes.set_ylabel('recall@10')
        shown = [x for found in engines.values() for x, y in found['curve'] if y >= 0.9]
        if shown:
            axes.set_xlim(min(shown) / 1.3, max(shown) * 1.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, which='both', alpha=0.25)
    for axes in list(figure.axes)[len(panels) :]:
        axes.set_visible(False)
    lines = {
        str(line.get_label()): line
        for axes in figure.axes
        for line in axes.get_lines()
        if str(line.get_label()) in names
    }
    figure.legend(list(lines.values()), list(lines), loc='outside lower center', ncols=min(4, len(lines)))
    figure.suptitle(title)
    return _saved(figure, path)


def _saved(figure: Figure, path: str | Path) -> Path:
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, format='png')
    return Path(path)
