"""An analysis of a detector as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.page import Page
from mbv1_backbone.detection.analysis import AREAS, Analysis, drawn
from mbv1_backbone.detection.tide import KINDS

__all__ = ['write_page']

_DRAWN = 12  # worst pictures
_LISTED = 40  # worst pictures in the table
_NAMED = 30  # classes that a confusion matrix is drawn of with names
_CURVES = 12  # classes with a curve of their own


def write_page(analysis: Analysis, path: Path, title: str) -> None:
    """Write the page.

    Args:
        analysis: What was found.
        path: Of the file.
        title: Of the page, such as the detector's name.
    """
    page = Page(title)
    found = analysis.report()
    ap, ap50 = found['ap']['all'], found['ap50']['all']
    page.text(
        f'{found["annotations"]}: {found["images"]} images, {found["objects"]} objects, '
        f'{found["detections"]} detections. AP {_told(ap)}, AP50 {_told(ap50)}.'
    )
    _add_costs(page, analysis)
    _add_classes(page, analysis)
    page.heading('Precision, recall and F1 by the least score that counts')
    page.text('A detection is right from an overlap of .5 on. Dots are the best F1 of each class.')
    page.plot(_curves(analysis))
    page.heading('What is taken for what')
    page.text('At the best thresholds; rows are objects, columns detections; an overlap of .5 makes a pair.')
    page.plot(_confusion(analysis))
    page.heading(f'Worst pictures: {len(analysis.worst)} with errors')
    page.text('Objects on the left, detections above the best thresholds on the right.')
    rows = [[w.sample.image['file_name'], w.wrong, w.missed] for w in analysis.worst[:_LISTED]]
    page.table(['picture', 'wrong', 'missed'], rows)
    for worst in analysis.worst[:_DRAWN]:
        caption = f'{worst.sample.image["file_name"]}: {worst.wrong} wrong, {worst.missed} missed'
        page.picture(drawn(worst, analysis.annotations, analysis.thresholds), caption, side=900)
    page.write(path)


def _told(value: float | None) -> str:
    return 'unknown' if value is None else f'{value:.3f}'


def _add_costs(page: Page, analysis: Analysis) -> None:
    found = analysis.tide
    page.heading('Kinds of error, and what each costs')
    page.text(
        f'TIDE (arXiv:2008.08115): by how much AP at an overlap of .5, {found.ap:.3f}, would be higher if '
        'this kind alone were mended. Every detection counts, however low its score. The costs do not add up.'
    )
    rows: list[list[Any]] = [[kind, found.costs[kind], found.counts[kind], KINDS[kind]] for kind in KINDS]
    rows.append(['false positives', found.false_positives, '', 'no wrong detection scores above a right one'])
    rows.append(['false negatives', found.false_negatives, '', 'no object is without a detection'])
    page.table(['kind', 'cost', 'count', 'a detection is'], rows)


def _add_classes(page: Page, analysis: Analysis) -> None:
    page.heading('AP by class and size, and the best threshold of each class')
    page.text("Sizes are COCO's, in pixels of the picture; the threshold is the score with the greatest F1.")
    rows = []
    for k, (name, curve) in enumerate(zip(analysis.annotations.classes, analysis.curves, strict=True)):
        best = curve.best
        at_best: list[float | None] = [None] * 4
        if best is not None:
            at_best = [curve.told, *(float(v[best]) for v in (curve.f1, curve.precision, curve.recall))]
        aps = [float(analysis.ap50['all'][k]), *(float(analysis.ap[area][k]) for area in AREAS)]
        rows.append([name, curve.objects, *aps, *at_best])
    head = ['class', 'objects', 'AP50', 'AP', *(f'AP {area}' for area in AREAS[1:])]
    page.table([*head, 'threshold', 'F1', 'precision', 'recall'], rows)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def _curves(analysis: Analysis) -> Any:
    """Precision by recall, and F1 by score, a line a class; of many classes those with most objects."""
    figure = _figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    order = sorted(range(len(analysis.curves)), key=lambda k: -analysis.curves[k].objects)[:_CURVES]
    for k in order:
        curve = analysis.curves[k]
        if curve.best is None:
            continue
        [line] = left.plot(curve.recall, curve.precision, label=_plain(analysis.annotations.classes[k]))
        right.plot(curve.scores, curve.f1, color=line.get_color())
        left.plot(curve.recall[curve.best], curve.precision[curve.best], 'o', color=line.get_color())
        right.plot(curve.scores[curve.best], curve.f1[curve.best], 'o', color=line.get_color())
    left.set(xlabel='recall', ylabel='precision', xlim=(0, 1.02), ylim=(0, 1.02))
    right.set(xlabel='least score that counts', ylabel='F1', xlim=(0, 1.02), ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if left.lines:
        left.legend(fontsize=8)
    return figure


def _confusion(analysis: Analysis) -> Any:
    names = analysis.annotations.classes
    counts = analysis.confusion
    side = min(3.5 + 0.45 * len(names), 12)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='detected', ylabel='object')
    if len(names) <= _NAMED:
        ticks = range(len(names) + 1)
        plain = dict(parse_math=False)  # a name may have a dollar sign
        axes.set_xticks(ticks, [*names, '(missed)'], rotation=45, ha='right', rotation_mode='anchor', **plain)
        axes.set_yticks(ticks, [*names, '(background)'], **plain)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = 'white' if shares[row, column] > 0.5 else 'black'
            text = str(counts[row, column])
            axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=8)
    return figure


def _plain(name: str) -> str:
    """A name as a legend shows it: no mathematics, and no leading underscore, which hides it."""
    return name.replace('$', r'\$').lstrip('_') or 'class'
