"""What a classifier takes for what: accuracy, accuracy by class, and the picture of its confusions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbv1_backbone.common.files import atomic_file

__all__ = ['Confusion', 'draw_confusion']

_NAMED = 45  # classes, up to which the picture has their names and numbers
_WORST = 10  # confusions that are named beside a larger one


@dataclass(frozen=True)
class Confusion:
    """Photographs by true class (row) and by the class that they were taken for (column).

    Attributes:
        classes: Names.
        counts: int (classes, classes).
    """

    classes: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> Confusion:
        """Count.

        Args:
            labels: True classes, int (N,).
            predictions: Classes that were predicted, int (N,).
            classes: Names.

        Example:
            >>> found = Confusion.of(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ['cat', 'dog'])
            >>> found.top1, round(found.mean_per_class, 3)
            (0.75, 0.833)
        """
        counts = np.zeros((len(classes),) * 2, np.int64)
        np.add.at(counts, (labels, predictions), 1)
        return cls(tuple(classes), counts)

    @property
    def top1(self) -> float:
        """Share of the photographs that are right."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def by_class(self) -> np.ndarray:
        """Share of each class's photographs that are right; NaN of a class without any."""
        with np.errstate(invalid='ignore'):
            return np.diag(self.counts) / self.counts.sum(1)

    @property
    def mean_per_class(self) -> float:
        """Mean of the classes' shares, which does not count a class more that has more photographs."""
        return float(np.nanmean(self.by_class))

    def worst(self, count: int) -> list[tuple[str, str, int]]:
        """The most frequent confusions: true class, predicted class, photographs."""
        wrong = self.counts * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind='stable')[:count]
        places = [divmod(int(place), len(self.classes)) for place in order]
        return [(self.classes[a], self.classes[b], int(wrong[a, b])) for a, b in places if wrong[a, b]]


def draw_confusion(found: Confusion, path: str | os.PathLike[str], title: str) -> Path:
    """Write a picture: shares of each true class by colour; with up to 45 classes names and numbers, too.

    Args:
        found: What to draw.
        path: PNG file.
        title: Above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(found.classes)
    named = count <= _NAMED
    side = min(3.5 + 0.42 * count, 15) if named else 9.0
    figure = Figure(figsize=(side + (0 if named else 3.5), side), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = found.counts / np.maximum(found.counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='predicted', ylabel='true class', title=title)
    if named:
        ticks = range(count)
        plain = dict(parse_math=False)  # a name may have a dollar sign
        axes.set_xticks(ticks, found.classes, rotation=45, ha='right', rotation_mode='anchor', **plain)
        axes.set_yticks(ticks, found.classes, **plain)
        for row, column in zip(*np.nonzero(found.counts), strict=True):
            colour = 'white' if shares[row, column] > 0.5 else 'black'
            text = str(found.counts[row, column])
            axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=8)
    else:
        axes.set(xlabel='predicted (number of the class in the order of names)')
        lines = [f'{n} x {true}: {predicted}' for true, predicted, n in found.worst(_WORST)]
        text = 'most frequent confusions\n(true class: predicted)\n\n' + '\n'.join(lines)
        axes.text(1.03, 1, text, transform=axes.transAxes, va='top', fontsize=9, parse_math=False)
    with atomic_file(path) as file:
        figure.savefig(file, format='png', dpi=110)
    return Path(path)
