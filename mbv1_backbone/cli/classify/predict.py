"""``mbv1 classify predict``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli.classify import RESULTS
from mbv1_backbone.cli.image_verbs import inputs_of, look_at, print_left_out

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.inference.classifier import ImageClasses

__all__ = ['run']


def run(args: argparse.Namespace) -> None:
    """Classify, print, draw, write.

    Raises:
        InputError: If the network or the images cannot be used, or no image could be read.
    """
    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.common.files import shown, write_json
    from mbv1_backbone.common.wording import amount

    inputs = inputs_of(args, RESULTS)
    classifier = open_network(args, args.model, inputs.checkpoint, 'classifier')
    print(classifier.backend)
    if classifier.network.spec.places:
        print('its classes are cells of the earth: mbv1 locate says where they are, and draws maps')
    results: list[dict[str, Any]] = []

    def note(number: int, found: ImageClasses) -> ImageClasses:
        classes = [
            dict(category_id=c.label, category_name=c.name, score=round(c.score, 6)) for c in found.classes
        ]
        results.append(dict(file_name=str(inputs.paths[number]), predictions=classes))
        return found

    stream = classifier.stream(inputs.paths, args.top, args.batch_size)
    unread = look_at(inputs, stream, args.out_dir, note, _picture)
    for result in results:
        said = ', '.join(f'{shown(c["category_name"])} {c["score"]:.3f}' for c in result['predictions'])
        print(f'{shown(result["file_name"])}: {said}')
    if args.out_dir:
        write_json(Path(args.out_dir) / RESULTS, results, indent=1)
        print(f'{args.out_dir}: classes of {amount(len(results), "image")}')
    print_left_out(unread)


def _picture(found: ImageClasses) -> np.ndarray:
    from mbv1_backbone.classification.drawing import draw_predictions

    return draw_predictions(found.image, [c.name for c in found.classes], [c.score for c in found.classes])
