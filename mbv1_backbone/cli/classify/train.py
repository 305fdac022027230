"""``mbv1 classify train``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

    from mbv1_backbone.classification.confusion import Confusion
    from mbv1_backbone.classification.folders import ClassFolder
    from mbv1_backbone.training.transfer import Plan

__all__ = ['run']

CONFIG, WEIGHTS, RESULTS, PICTURE = 'config.py', 'model.safetensors', 'results.json', 'confusion.png'
_OF_WHOLE = ('epochs', 'batch_size', 'lr')  # options of the training of the whole network
_LARGEST = 1024  # side of the input, in pixels
_SHOWN = 3  # photographs that cannot be read


def run(args: argparse.Namespace) -> None:
    """Read the folder, train, test, write.

    Raises:
        InputError: If the photographs, the weights or the output cannot be used.
    """
    from mbv1_backbone.classification.duplicates import same_bytes
    from mbv1_backbone.classification.folders import check_name, read_class_folder
    from mbv1_backbone.common.outputs import check_output_folder

    _check_options(args)
    work_dir = Path(args.work_dir or Path('work_dirs') / Path(args.folder).resolve().name)
    if work_dir.resolve().is_relative_to(Path(args.folder).resolve()):
        raise InputError(f'--work-dir {work_dir} lies in {args.folder}, among the photographs: give another')
    check_output_folder(work_dir, empty=True, name='--work-dir')
    for path, what in ((work_dir, '--work-dir'), (args.folder, 'folder'), (args.pretrained, '--pretrained')):
        check_name(str(path if '://' in str(path) else Path(path).resolve()), what)
    folder = read_class_folder(args.folder, args.held_out, args.seed)
    from mbv1_backbone.training.transfer import START, Plan, check_plan, transfer_config

    given = {name: value for name in _OF_WHOLE if (value := getattr(args, name)) is not None}
    plan = Plan(args.pretrained, args.size, seed=args.seed, **given)
    check_plan(plan)
    folder = _readable(folder)
    print(folder.summary(), flush=True)
    if said := same_bytes(folder.parts):
        print(said, flush=True)
    cfg = transfer_config(folder, work_dir, plan)
    cfg.load_from = None if args.frozen else str((work_dir / START).resolve())
    cfg.dump(str(work_dir / CONFIG))
    results = dict(folder=str(folder.root.resolve()), division=folder.division, pretrained=args.pretrained)
    results |= dict(classes=len(folder.classes), train=len(folder.train), test=len(folder.test))
    results |= _train(cfg, folder, plan, args.frozen, work_dir)
    found = _test(work_dir, folder)
    _report(found, results, work_dir)


def _check_options(args: argparse.Namespace) -> None:
    if args.lr is not None and not 0 < args.lr < math.inf:
        raise InputError(f'--lr must be more than 0 and finite, got {args.lr:g}')
    if args.size is not None and args.size > _LARGEST:
        raise InputError(f'--size must be at most {_LARGEST}, got {args.size}')
    if args.frozen and (given := [name for name in _OF_WHOLE if getattr(args, name) is not None]):
        option = given[0].replace('_', '-')
        raise InputError(f'--frozen trains the last layer alone; --{option} is of the whole network')


def _readable(folder: ClassFolder) -> ClassFolder:
    """The folder without photographs that cannot be decoded, which are counted and named."""
    from tqdm import tqdm

    from mbv1_backbone.classification.folders import without_unreadable

    count = len(folder.train) + len(folder.test)
    with tqdm(total=count, unit='photograph', desc='reading', leave=False) as bar:
        folder, reasons = without_unreadable(folder, bar.update)
    if reasons:
        print(f'left out: {len(reasons)} of {count} photographs that cannot be read')
        for reason in reasons[:_SHOWN]:
            print(f'  {reason}')
    return folder


def _train(cfg: Config, folder: ClassFolder, plan: Plan, frozen: bool, work_dir: Path) -> dict[str, Any]:
    """Fit the last layer, then train the whole network unless it is frozen; the weights are written."""
    from tqdm import tqdm

    from mbv1_backbone import training
    from mbv1_backbone.training.transfer import START, add_linear_head, save_start, weights_of
    from mbv1_backbone.weights.store import write_weights

    with tqdm(total=len(folder.train), unit='photograph', desc='features', leave=False) as bar:
        model, linear = add_linear_head(cfg, folder, plan.seed, bar.update)
    how = f'{linear.folds}-fold cross-validation' if linear.folds else 'default: one photograph of a class'
    print(
        f'linear classifier on {linear.weight.shape[1]} features, C={linear.strength:g} ({how})', flush=True
    )
    results: dict[str, Any] = dict(linear=dict(C=linear.strength, folds=linear.folds))
    if frozen:
        write_weights(weights_of(model, folder.classes, plan.pretrained), work_dir / WEIGHTS)
        return results
    save_start(model, folder.classes, work_dir / START)
    training.train(cfg)
    last = training.latest_checkpoint(work_dir)
    assert last is not None  # train() wrote one, or raised
    write_weights(training.published(cfg, last), work_dir / WEIGHTS)
    return results | dict(epochs=plan.epochs, batch_size=cfg.train_dataloader.batch_size, lr=plan.lr)


def _test(work_dir: Path, folder: ClassFolder) -> Confusion:
    """What the written weights predict on the photographs to test with, in float32."""
    import numpy as np
    from tqdm import tqdm

    from mbv1_backbone.classification.confusion import Confusion
    from mbv1_backbone.inference.loading import load

    config, weights = work_dir / CONFIG, work_dir / WEIGHTS
    classifier = load(config, weights, kind='classifier', backend='torch', precision='fp32')
    paths, labels = [photo.path for photo in folder.test], [photo.label for photo in folder.test]
    predictions = []
    for found in tqdm(classifier.stream(paths, 1, 16), 'testing', len(paths), unit='photograph', leave=False):
        if isinstance(found, InputError):  # it could be read a while ago
            raise found
        predictions.append(found.classes[0].label)
    return Confusion.of(np.array(labels), np.array(predictions), folder.classes)


def _report(found: Confusion, results: dict[str, Any], work_dir: Path) -> None:
    from mbv1_backbone.classification.confusion import draw_confusion
    from mbv1_backbone.common.files import write_json

    results |= dict(top1=found.top1, mean_per_class=found.mean_per_class)
    results['by_class'] = dict(zip(found.classes, found.by_class.tolist(), strict=True))
    results['confusions'] = [[*worst] for worst in found.worst(20)]
    write_json(work_dir / RESULTS, results, indent=1)
    title = f'top-1 {found.top1:.3f}, mean per class {found.mean_per_class:.3f}'
    draw_confusion(found, work_dir / PICTURE, title)
    print(f'{found.counts.sum()} photographs: {title}')
    for true, predicted, count in found.worst(3):
        print(f'  {true} taken for {predicted}: {count}')
    print(f'{work_dir / RESULTS}, {work_dir / PICTURE}')
    print(f'the network: {work_dir / CONFIG} {work_dir / WEIGHTS}')
