"""Evaluation during training and by ``mbv1 test``, and the check that no one is in training and test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.protocols import (
    Embeddings,
    Pairs,
    evaluate_gallery,
    evaluate_pairs,
    read_gallery,
    read_pairs,
)
from mbv1_backbone.face.files import write_embeddings

__all__ = ['DisjointPeopleHook', 'FaceMetric', 'check_disjoint']


@METRICS.register_module()
class FaceMetric(BaseMetric):
    """LFW's verification and, where gallery and probes are given, identification.

    Args:
        pairs: File of pairs.
        gallery: CSV, ``file,identity``.
        probes: CSV, of people in the gallery.
        unknown: CSV, of people who are not.
        data_root: What these are relative to.
        out_file: ``.npz`` to write the embeddings to.
        kwargs: mmengine's.
    """

    default_prefix = 'face'

    def __init__(
        self,
        pairs: str,
        gallery: str | None = None,
        probes: str | None = None,
        unknown: str | None = None,
        data_root: str = '',
        out_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (gallery is None) != (probes is None):
            raise ValueError('gallery and probes must be given together')
        root = Path(data_root)
        self.pairs: Pairs = read_pairs(root / pairs)
        self.gallery, self.probes, self.unknown = (
            read_gallery(root / name) if name else None for name in (gallery, probes, unknown)
        )
        self.out_file = out_file

    def people(self) -> set[str]:
        """Everybody in a pair, in the gallery or among the probes."""
        named = [table.values() for table in (self.gallery, self.probes, self.unknown) if table]
        return self.pairs.people().union(*named)

    @override
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.results += [
            (sample['file'], sample['embedding'].float().cpu().numpy()) for sample in data_samples
        ]

    @override
    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict[str, float]:
        table = dict(results)  # several processes may have filled up with the same images
        embeddings = Embeddings(list(table), np.array(list(table.values())))
        if self.out_file:
            write_embeddings(self.out_file, list(table), embeddings.vectors)
        figures, _, _ = evaluate_pairs(embeddings, self.pairs)
        if self.gallery and self.probes:
            found = evaluate_gallery(embeddings, self.gallery, self.probes, self.unknown)
            figures = {**found, **figures, 'warnings': figures['warnings'] + found.get('warnings', [])}
        for warning in figures.pop('warnings'):
            print_log(warning, 'current')
        return {name: value for name, value in figures.items() if isinstance(value, float)}


@HOOKS.register_module()
class DisjointPeopleHook(Hook):
    """Stops a run whose training set has a person of the validation set, its pairs, gallery or probes."""

    @override
    def before_train(self, runner: Runner) -> None:
        training = set(runner.train_dataloader.dataset.identities)
        loop = runner.val_loop
        if loop is None:
            return
        tested = set(getattr(loop.dataloader.dataset, 'identities', ()))
        tested = tested.union(*(m.people() for m in loop.evaluator.metrics if isinstance(m, FaceMetric)))
        check_disjoint(training, tested)


def check_disjoint(training: set[str], tested: set[str]) -> None:
    """Check that nobody is in both.

    Raises:
        InputError: If somebody is; the message names one and counts the rest.
    """
    if both := sorted(training & tested):
        raise InputError(
            f'{both[0]} and {len(both) - 1} more people are in the training set and in the test; '
            'split the people, not the images: mbv1 faces split'
        )
