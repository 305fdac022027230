"""What was found in annotation files: counted by reason, told in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ['FILLED', 'IMAGES', 'KEPT', 'LEFT_OUT', 'Report', 'short_name', 'table']

LEFT_OUT = {
    'not_numbers': 'box is not four finite numbers',
    'empty': 'box has no width or height',
    'fractions': 'box lies within the first pixel (fractions of the image?)',
    'outside': 'box lies outside its image',
    'unknown_image': 'image_id of no image',
    'unknown_category': 'category_id of no category',
    'other_class': "category is not in the config's classes",
}
KEPT = {
    'crowd': 'crowd: not learnt from, ignored in evaluation',
    'ignored': 'marked ignore: not learnt from',
    'thin': 'box thinner than a pixel: not learnt from',
    'partly_outside': 'box reaches out of its image',
    'repeated': 'box that its image has already, of the same class: one of them is evaluated as missed',
}
IMAGES = {
    'no_boxes': 'images without a box, left out by filter_cfg',
    'small': 'images smaller than filter_cfg.min_size, left out',
    'twice': 'images listed twice under one id, taken once',
    'size': "images whose stated width and height are not the picture's, which is taken",
    'no_size': 'images without width and height, taken from the picture',
    'moved': 'images found under another path than stated',
}
FILLED = {
    'bbox': 'box taken from the mask',
    'area': 'area taken from the box',
    'iscrowd': 'iscrowd taken as 0',
    'id': 'annotation ids missing or repeated, numbered anew',
    'one_name': 'categories of one name, taken as one',
}
_GROUPS = (('left out', LEFT_OUT), ('kept', KEPT), ('images', IMAGES), ('filled in', FILLED))


@dataclass
class Report:
    """Counts of one annotation file.

    Attributes:
        name: The file.
        images: Images of it that are used.
        boxes: Boxes that can be learnt from, or are evaluated.
        stated: Annotations in the file.
        counts: By a key of ``LEFT_OUT``, ``KEPT``, ``IMAGES`` or ``FILLED``.
        first: The first annotation or image of a reason.
        warnings: Lines for the user.
    """

    name: str
    images: int = 0
    boxes: int = 0
    stated: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, reason: str, example: str) -> None:
        """Count one more of a reason."""
        self.counts[reason] += 1
        if reason not in self.first:
            self.first[reason] = example

    def reasons(self) -> str:
        """Why annotations cannot be learnt from, with counts and the first of each."""
        told = {**LEFT_OUT, **KEPT}
        del told['partly_outside'], told['repeated']
        found = [
            f'{self.counts[reason]} x {text} (the first: {self.first[reason]})'
            for reason, text in told.items()
            if self.counts[reason]
        ]
        return ', '.join(found) or 'the list is empty'


def table(reports: Sequence[Report]) -> str:
    """One table of several files: what is used, and what was left out, kept or filled in, by reason."""
    rows = [
        ['annotations', *(short_name(r.name) for r in reports)],
        ['images used', *(str(r.images) for r in reports)],
        ['annotations in the file', *(str(r.stated) for r in reports)],
        ['boxes used', *(str(r.boxes) for r in reports)],
    ]
    for group, reasons in _GROUPS:
        for reason, text in reasons.items():
            if any(r.counts[reason] for r in reports):
                rows.append([f'{group}: {text}', *(_cell(r, reason) for r in reports)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return '\n'.join([*lines, *(f'warning: {line}' for r in reports for line in r.warnings)])


def short_name(path: str) -> str:
    """The last two parts of a path."""
    return '/'.join(Path(path).parts[-2:])


def _cell(report: Report, reason: str) -> str:
    if not report.counts[reason]:
        return '-'
    first = report.first.get(reason)
    return f'{report.counts[reason]} (first: {first})' if first else str(report.counts[reason])
