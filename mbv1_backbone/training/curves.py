"""Loss and metric curves of a run, as a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from typing_extensions import override

from mbv1_backbone.common.files import atomic_file

__all__ = ['CurvesHook', 'Series', 'draw_curves', 'headline', 'read_scalars']

Series = dict[str, list[tuple[int, float]]]


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw ``curves.png`` in the work folder after each evaluation and at the end of training.

    Loss above, the metrics below; a resumed run continues the curves of the runs before it.
    """

    priority = 'VERY_LOW'

    @override
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.rank == 0:
            draw_curves(runner.work_dir)

    @override
    def after_train(self, runner: Runner) -> None:
        self.after_val_epoch(runner)


def read_scalars(work_dir: str | Path) -> tuple[Series, Series]:
    """Losses by iteration and metrics by evaluation step, from every ``scalars.json`` of a work folder.

    Where a resumed run repeats a step, its value replaces the older one.
    """
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    metrics: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed
                continue
            target = losses if 'loss' in record else metrics
            for name, value in record.items():
                wanted = name.startswith('loss') if target is losses else '/' in name
                if wanted and isinstance(value, (int, float)) and value >= 0:
                    target[name][int(record['step'])] = float(value)
    return _sorted(losses), _sorted(metrics)


def draw_curves(work_dir: str | Path) -> Path | None:
    """Draw ``work_dir/curves.png``; None, and no file, where nothing was logged yet."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses, metrics = read_scalars(work_dir)
    panels = [(title, series) for title, series in (('loss', losses), ('metrics', metrics)) if series]
    if not panels:
        return None
    figure = Figure(figsize=(8, 3.6 * len(panels)), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (title, series) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        for name, points in ((name, series[name]) for name in headline(series)):
            axes.plot(*zip(*points, strict=True), label=name, marker='.' if len(points) < 60 else None)
        axes.set(ylabel=title, xlabel='iteration' if title == 'loss' else 'epoch', ylim=(0, None))
        axes.grid(alpha=0.3)
        for text in axes.legend(fontsize='small').get_texts():
            text.set_parse_math(False)  # of a class's metric: its name may have a dollar sign
    path = Path(work_dir) / 'curves.png'
    with atomic_file(path) as file:
        figure.savefig(file, dpi=120, format='png')
    return path


def _sorted(series: dict[str, dict[int, float]]) -> Series:
    return {name: sorted(points.items()) for name, points in series.items()}


def headline(names: Iterable[str]) -> list[str]:
    """The headline metrics where there are many: per-class ones would bury the mean."""
    names = list(names)
    return [name for name in names if name.endswith(('mAP', 'mAP_50', 'mAP_75'))] or names[:8]
