"""A run's annotations: read once by its data sets, told in one table, and evaluated on as they were read."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.compat.datasets import plain_datasets
from mbv1_backbone.detection.formats.report import table

__all__ = ['category_ids_of', 'check_annotations', 'check_same_classes', 'use_checked_annotations']

_CHECKED = {'CocoDataset': 'CheckedCocoDataset', 'CocoMetric': 'CheckedCocoMetric'}


def use_checked_annotations(cfg: Config) -> None:
    """Put our checked data set and metric in the place of mmdet's, wherever a config names these."""
    for part in ('train', 'val', 'test'):
        for name in (f'{part}_dataloader', f'{part}_evaluator'):
            _replace(cfg.get(name))


def check_annotations(runner: Runner, *loops: Any) -> str:
    """Check that a run's data sets and metrics agree, and log what was read.

    Args:
        runner: Of the run.
        loops: Its loops, built; None is skipped.

    Returns:
        The table of what was read, as it is logged; empty where no data set has one.

    Raises:
        InputError: If two data sets have other classes, or a metric other images than its data set.
    """
    reports = []
    classes: list[tuple[str, tuple[str, ...]]] = []
    for loop in loops:
        if loop is None:
            continue
        found = list(plain_datasets(loop.dataloader.dataset))
        reports += [dataset.report for dataset in found if hasattr(dataset, 'report')]
        for dataset in found:
            if hasattr(dataset, 'report'):
                classes.append((dataset.ann_file, tuple(dataset.metainfo['classes'])))
        checked = [d.annotations for d in found if getattr(d, 'annotations', None)]
        for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', []):
            if hasattr(metric, 'use') and len(checked) == 1:
                metric.use(checked[0])
    for file, names in classes:
        check_same_classes(f'the classes of {file}', names, *classes[0])
    if not reports:
        return ''
    runner.logger.info('\n' + table(reports))
    return table(reports) + '\n'


def check_same_classes(subject: str, names: tuple[str, ...], other: str, targets: tuple[str, ...]) -> None:
    """Refuse other names, or the same in another order: labels are numbers.

    Args:
        subject: What has the names, for the message.
        names: Names of its classes, by label.
        other: What has the names that they must be, for the message.
        targets: These names.

    Raises:
        InputError: With both lists.
    """
    if tuple(names) != tuple(targets):
        raise InputError(
            f'{subject} must be those of {other}, in the same order: {listed(names)}, not {listed(targets)}'
        )


def category_ids_of(dataset: Any) -> tuple[Any, ...]:
    """The category ids of a data set's annotation file, by label; empty where there is no one file."""
    ids = {tuple(d.cat_ids) for d in plain_datasets(dataset) if hasattr(d, 'report')}
    return ids.pop() if len(ids) == 1 else ()


def _replace(part: Any) -> None:
    """Replace the types in a config's part, however deep; data on other machines stays mmdet's own."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ():
        if isinstance(value, (dict, list, tuple)):
            _replace(value)
    if isinstance(part, dict) and 'type' in part and not part.get('backend_args'):
        kind = part['type']
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        if name.rpartition('.')[2] in _CHECKED:
            part['type'] = _CHECKED[name.rpartition('.')[2]]
