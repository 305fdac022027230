"""Pictures of an evaluation: the curve, the distances, and faces side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mbv1_backbone.common.files import atomic_file
from mbv1_backbone.face.evaluation.metrics import Roc
from mbv1_backbone.face.geometry import fit_square

__all__ = ['Tile', 'contact_sheet', 'draw_distances', 'draw_verification', 'worst_mistakes']

GOOD, BAD, PLAIN = (0, 130, 60), (200, 30, 30), (60, 60, 60)


@dataclass(frozen=True)
class Tile:
    """One image of a contact sheet.

    Attributes:
        image: RGB uint8 (H, W, 3); None leaves the place empty.
        caption: Lines under it; long ones are cut.
        colour: Of the caption, RGB.
    """

    image: np.ndarray | None
    caption: Sequence[str] = ()
    colour: tuple[int, int, int] = PLAIN


def contact_sheet(rows: Sequence[Sequence[Tile]], path: str | Path, side: int = 120) -> Path:
    """Write rows of images with captions as a PNG file.

    Args:
        rows: May differ in length.
        path: Of the file; its folder is made.
        side: Of each image, in pixels.
    """
    font = ImageFont.load_default(12)
    line, gap = 15, 6
    heights = [side + line * max((len(tile.caption) for tile in row), default=0) + gap for row in rows]
    columns = max((len(row) for row in rows), default=1)
    sheet = Image.new('RGB', (columns * (side + gap) + gap, sum(heights) + gap), 'white')
    draw = ImageDraw.Draw(sheet)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = gap + column * (side + gap)
            if tile.image is not None:
                sheet.paste(Image.fromarray(fit_square(tile.image, side)), (left, top))
            for number, text in enumerate(tile.caption):
                place = (left, top + side + number * line)
                draw.text(place, _cut(text, font, side), fill=tile.colour, font=font)
        top += height
    with atomic_file(path) as file:
        sheet.save(file, format='PNG')
    return Path(path)


def draw_verification(curves: Mapping[str, Roc], path: str | Path) -> Path:
    """ROC curves, FAR on a logarithmic axis, as a PNG file."""
    figure, axes = _figure(1)
    for name, curve in curves.items():
        axes[0].step(curve.far, curve.tar, where='post', label=name)
    least = min(min(c.far[c.far > 0], default=1e-4) for c in curves.values())
    axes[0].set(xscale='log', xlim=(least / 2, 1), ylim=(0, 1.01), xlabel='FAR', ylabel='TAR')
    axes[0].grid(alpha=0.3, which='both')
    axes[0].legend(loc='lower right')
    return _saved(figure, path)


def draw_distances(scores: np.ndarray, same: np.ndarray, threshold: float, path: str | Path) -> Path:
    """Histogram of the squared distances of genuine and of impostor pairs, as a PNG file.

    Args:
        scores: Cosines (N,).
        same: bool (N,).
        threshold: Cosine at which a pair is accepted.
        path: Of the file.
    """
    figure, axes = _figure(1)
    bins = np.linspace(0, max(2.2, float((2 - 2 * scores).max())), 60).tolist()
    for name, chosen, colour in (('genuine pairs', same, 'tab:green'), ('impostor pairs', ~same, 'tab:red')):
        axes[0].hist(2 - 2 * scores[chosen], bins, alpha=0.6, color=colour, label=f'{name}: {chosen.sum()}')
    axes[0].axvline(2 - 2 * threshold, color='black', ls='--', label=f'threshold {2 - 2 * threshold:.3f}')
    axes[0].set(xlabel='squared distance', ylabel='pairs')
    axes[0].legend()
    return _saved(figure, path)


def worst_mistakes(scores: np.ndarray, same: np.ndarray, threshold: float, count: int = 10) -> np.ndarray:
    """Indices of the pairs furthest on the wrong side of a threshold, the worst first, at most ``count``.

    Args:
        scores: Cosines (N,).
        same: bool (N,): whether a pair is genuine.
        threshold: Cosine at which a pair is accepted.
        count: The most that is wanted.
    """
    wrong_by = np.where(same, threshold - scores, scores - threshold)
    order = np.argsort(-wrong_by, kind='stable')[:count]
    return order[((scores >= threshold) != same)[order]]


def _cut(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '…') > width:
        text = text[:-1]
    return text + '…'


def _figure(panels: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4 * panels), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(panels, squeeze=False)[:, 0]


def _saved(figure: Any, path: str | Path) -> Path:
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, format='png')
    return Path(path)
