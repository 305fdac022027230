"""``mbv1 classify compare``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli.classify import FIGURES, PICTURE
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.classification.trade_off import Measured

__all__ = ['run']


def run(args: argparse.Namespace) -> None:
    """Measure classifiers on the same labelled photographs, print, draw and write.

    Raises:
        InputError: If a model is no classifier, or the photographs cannot be used.
    """
    from mbv1_backbone.classification.trade_off import draw_trade_off
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.weights.parity import read_labels

    if not args.crop:
        raise InputError('--crop must be more than 0, got 0')
    named = [_named(model) for model in args.models]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise InputError(f'models must have names of their own, got {", ".join(names)}; give NAME=MODEL')
    files, labels = read_labels(args.labels, args.images)
    if missing := next((file for file in files if not file.is_file()), None):
        raise InputError(f'{args.labels}: names {missing}, which is not there; --images is their folder')
    found = []
    print(f'{"model":32} {"mult-adds":>10} {"params":>9}  top-1  top-5  of {len(files)} images')
    for name, model in named:
        of_model = _measure(name, model, files, labels, args.crop)
        found.append(of_model)
        print(
            f'{name:32} {of_model.mult_adds / 1e6:8.1f} M {of_model.params / 1e6:7.2f} M  '
            f'{of_model.top1:.3f}  {of_model.top5:.3f}',
            flush=True,
        )
    if args.out_dir:
        out = Path(args.out_dir)
        write_json(
            out / FIGURES,
            dict(images=len(files), crop=args.crop, models=[one._asdict() for one in found]),
            indent=1,
        )
        draw_trade_off(found, f'{len(files)} photographs (crop {args.crop:g})', out / PICTURE)
        print(f'{out / FIGURES}, {out / PICTURE}')


def _named(model: str) -> tuple[str, str]:
    """Name and model of ``NAME=MODEL``; of a model alone its file's name without the suffix.

    Raises:
        InputError: If one of the two is empty.
    """
    file, of_config, _ = model.partition('.py:')
    if Path(f'{file}.py' if of_config else model).is_file():  # its name may have the sign, too
        return (model if of_config else Path(model).stem), model
    name, given, source = model.partition('=')
    if not given:
        return model, model
    if not name.strip() or not source.strip():
        raise InputError(f'models are given as MODEL or NAME=MODEL, got {model!r}')
    return name, source


def _measure(name: str, model: str, files: list[Path], labels: list[int], crop: float) -> Measured:
    """One classifier, in PyTorch and float32, on the middle squares of this share of the shorter side."""
    import numpy as np
    import torch

    from mbv1_backbone.classification.trade_off import Measured
    from mbv1_backbone.cli.networks import source_and_checkpoint
    from mbv1_backbone.inference.classifier import Classifier
    from mbv1_backbone.inference.exportable import exportable
    from mbv1_backbone.inference.pytorch import in_torch
    from mbv1_backbone.inference.resolve import resolve
    from mbv1_backbone.models.complexity import count_layers, total

    config, _, checkpoint = model.partition('.py:')
    source = (f'{config}.py', checkpoint) if checkpoint else (model, None)
    found = resolve(*source_and_checkpoint(*source)).expect('classifier')
    graph, spec = exportable(found)
    spec = replace(spec, crop=crop)
    costs = count_layers(graph, lambda: graph(torch.zeros(1, *spec.size, 3, dtype=torch.uint8)))
    scores = Classifier(in_torch(graph, spec, precision='fp32')).classify(files)
    if max(labels) >= scores.shape[1]:
        raise InputError(f'{model}: tells {scores.shape[1]} classes apart, the labels go up to {max(labels)}')
    right = np.argsort(-scores, axis=1)[:, :5] == np.array(labels)[:, None]
    mult_adds, params = total(costs)
    return Measured(name, float(right[:, 0].mean()), float(right.any(1).mean()), mult_adds, params)
