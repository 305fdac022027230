"""``mbv1 classify predict``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli.classify import RESULTS
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.inference.classifier import Classifier, ImageClasses

__all__ = ['run']


def run(args: argparse.Namespace) -> None:
    """Classify, print, draw, write.

    Raises:
        InputError: If the network or the images cannot be used, or no image could be read.
    """
    from mbv1_backbone.cli.networks import is_config, open_network
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.common.pictures import picture_names

    follows = is_config(args.model)
    if len(args.images) < 1 + follows:
        raise InputError(f'{args.model}: give {"its checkpoint and " if follows else ""}images after it')
    if args.no_pictures and not args.out_dir:
        raise InputError(f'--no-pictures is about --out-dir, where {RESULTS} is written')
    paths = find_images(args.images[follows:])
    pictures = [] if args.no_pictures or not args.out_dir else picture_names(paths)
    if args.out_dir:
        check_output_folder(args.out_dir, pictures, name='--out-dir', read=paths)
    classifier = open_network(args, args.model, args.images[0] if follows else None, 'classifier')
    print(classifier.backend)
    results, unread = _classify(args, classifier, paths, pictures)
    if not results:
        raise InputError(f'none of {len(paths)} images could be read; the first: {unread[0]}')
    for result in results:
        said = ', '.join(f'{c["category_name"]} {c["score"]:.3f}' for c in result['predictions'])
        print(f'{result["file_name"]}: {said}')
    if args.out_dir:
        write_json(Path(args.out_dir) / RESULTS, results, indent=1)
        print(f'{args.out_dir}: classes of {len(results)} images')
    for reason in unread:
        print(f'left out: {reason}')


def _classify(
    args: argparse.Namespace, classifier: Classifier, paths: list[Path], pictures: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What is on the images, drawn where there are names for pictures, and why others could not be read."""
    from tqdm import tqdm

    from mbv1_backbone.common.prefetch import prefetch

    results: list[dict[str, Any]] = []
    unread: list[str] = []

    def seen() -> Iterator[tuple[str, ImageClasses]]:
        stream = classifier.stream(paths, args.top, args.batch_size)
        for path, name, found in zip(paths, pictures or [''] * len(paths), stream, strict=True):
            if isinstance(found, InputError):
                unread.append(str(found))
                continue
            classes = [
                dict(category_id=c.label, category_name=c.name, score=round(c.score, 6))
                for c in found.classes
            ]
            results.append(dict(file_name=str(path), predictions=classes))
            yield name, found

    def draw(item: tuple[str, ImageClasses]) -> None:
        if pictures:
            _draw(Path(args.out_dir) / item[0], item[1])

    with tqdm(total=len(paths), unit='image') as bar:
        for _ in prefetch(draw, seen(), threads=2, max_pending=4):
            bar.update()
    return results, unread


def _draw(path: Path, found: ImageClasses) -> None:
    from mbv1_backbone.classification.drawing import draw_answers
    from mbv1_backbone.common.pictures import save_png

    names, scores = [c.name for c in found.classes], [c.score for c in found.classes]
    save_png(draw_answers(found.image, names, scores), path)
