"""``mbv1 classify compare``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mbv1_backbone.cli.classify import FIGURES, PICTURE
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.classification.trade_off import Measured
    from mbv1_backbone.inference.classifier import Classifier

__all__ = ['run']

_LIKELIEST = 5


def run(args: argparse.Namespace) -> None:
    """Measure classifiers on the same labelled photographs, print, draw and write.

    Raises:
        InputError: If a model is no classifier, models tell other classes apart, or the photographs cannot be
            used.
    """
    from mbv1_backbone.classification.trade_off import PAPER, draw_trade_off
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.wording import amount
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
    opened = [_open(name, model, args.crop) for name, model in named]
    _check_comparable(opened, labels)
    found = []
    for one in opened:
        found.append(_measure(one, files, labels))
        if len(found) == 1:
            count = amount(len(files), 'image')
            print(f'{"model":32} {"mult-adds":>10} {"params":>9}  top-1  top-5  of {count}')
        top5 = '    -' if found[-1].top5 is None else f'{found[-1].top5:.3f}'
        costs = f'{one.mult_adds / 1e6:8.1f} M {one.params / 1e6:7.2f} M'
        print(f'{one.name:32} {costs}  {found[-1].top1:.3f}  {top5}', flush=True)
    if args.out_dir:
        out = Path(args.out_dir)
        write_json(
            out / FIGURES,
            dict(images=len(files), crop=args.crop, models=[one._asdict() for one in found]),
            indent=1,
        )
        data = f'{len(files)} photographs (crop {args.crop:g})'
        draw_trade_off(found, data, out / PICTURE, PAPER if _tells_imagenet(opened[0]) else ())
        print(f'{out / FIGURES}, {out / PICTURE}')


def _named(model: str) -> tuple[str, str]:
    """Name and model of ``NAME=MODEL``; of a model alone its file's name without the suffix.

    Raises:
        InputError: If one of the two is empty, or the name has characters that cannot be printed.
    """
    file, of_config, _ = model.partition('.py:')
    if Path(f'{file}.py' if of_config else model).is_file():  # its name may have the sign, too
        return (model if of_config else Path(model).stem), model
    name, given, source = model.partition('=')
    if not given:
        return model, model
    if not name.strip() or not source.strip():
        raise InputError(f'models are given as MODEL or NAME=MODEL, got {model!r}')
    if not name.isprintable():
        raise InputError(f'names of models must be printable, got {name!r}')
    return name, source


class _Opened(NamedTuple):
    """A classifier that is ready to be measured."""

    name: str
    classifier: Classifier
    mult_adds: int
    params: int


def _open(name: str, model: str, crop: float) -> _Opened:
    """One classifier, in PyTorch and float32, that sees the middle squares of this share."""
    import torch

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
    if spec.places:
        raise InputError(f'{name}: its classes are cells of the earth; mbv1 test measures how far it is off')
    costs = total(count_layers(graph, lambda: graph(torch.zeros(1, *spec.size, 3, dtype=torch.uint8))))
    return _Opened(name, Classifier(in_torch(graph, replace(spec, crop=crop), precision='fp32')), *costs)


def _check_comparable(opened: list[_Opened], labels: list[int]) -> None:
    """Refuse networks of other classes beside the first, and labels that are none of theirs."""
    from mbv1_backbone.models.imagenet import own_names

    first = opened[0]
    for one in opened:
        mine, others = len(one.classifier.classes), len(first.classifier.classes)
        if mine != others:
            raise InputError(f'{one.name} tells {mine} classes apart, {first.name} {others}: not comparable')
        names, wanted = (own_names(o.classifier.network.spec.classes) for o in (one, first))
        if names and wanted and names != wanted:
            index = next(i for i, pair in enumerate(zip(names, wanted, strict=True)) if pair[0] != pair[1])
            raise InputError(
                f'{one.name} and {first.name} have other classes, or another order: class {index} is '
                f'{names[index]!r} and {wanted[index]!r}: not comparable'
            )
    count = len(first.classifier.classes)
    if max(labels) >= count:
        raise InputError(f'{first.name}: tells {count} classes apart, the labels go up to {max(labels)}')


def _tells_imagenet(one: _Opened) -> bool:
    """Whether a network tells ImageNet's classes apart, as the paper's do."""
    from mbv1_backbone.models.imagenet import imagenet_classes

    own = one.classifier.network.spec.classes
    return len(one.classifier.classes) == len(imagenet_classes()) and (not own or own == imagenet_classes())


def _measure(one: _Opened, files: list[Path], labels: list[int]) -> Measured:
    """Its accuracy; with five classes or fewer, one of the five likeliest is always right."""
    import numpy as np

    from mbv1_backbone.classification.trade_off import Measured

    scores = one.classifier.classify(files)
    right = np.argsort(-scores, axis=1)[:, :_LIKELIEST] == np.array(labels)[:, None]
    top5 = float(right.any(1).mean()) if scores.shape[1] > _LIKELIEST else None
    return Measured(one.name, float(right[:, 0].mean()), top5, one.mult_adds, one.params)
