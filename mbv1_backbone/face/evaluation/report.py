"""An evaluation as people read it: figures as text, and pictures of curve, distances and mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.evaluation.drawing import (
    BAD,
    Tile,
    contact_sheet,
    draw_distances,
    draw_verification,
    worst_mistakes,
)
from mbv1_backbone.face.evaluation.metrics import Roc
from mbv1_backbone.face.evaluation.protocols import Pairs, person_of
from mbv1_backbone.face.files import locate

__all__ = ['draw_pairs', 'figures_as_text']


def figures_as_text(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """A block of lines for each protocol, and the warnings."""
    blocks = []
    for protocol, values in figures.items():
        lines = [protocol]
        for name, value in values.items():
            if name == 'accuracy':
                lines.append(f'  {name:14} {value:.4f} +- {values["accuracy_error"]:.4f}')
            elif name not in ('warnings', 'accuracy_error'):
                lines.append(
                    f'  {name:14} {value:.4f}' if isinstance(value, float) else f'  {name:14} {value}'
                )
        lines += [f'  warning: {warning}' for warning in values.get('warnings', ())]
        blocks.append('\n'.join(lines))
    return '\n'.join(blocks)


def draw_pairs(
    pairs: Pairs, scores: np.ndarray, curve: Roc, threshold: float, out_dir: Path, images: str | None = None
) -> list[Path]:
    """Draw ``roc.png``, ``distances.png`` and, where the images are given, ``mistakes.png``.

    Args:
        pairs: N pairs of files.
        scores: Their cosines (N,).
        curve: Their ROC curve.
        threshold: Cosine at which a pair is accepted.
        out_dir: Folder of the PNG files; it is made.
        images: Folder of the images, None to draw no mistakes.

    Raises:
        InputError: If an image of a mistake cannot be read.
    """
    drawn = [
        draw_verification({'pairs': curve}, out_dir / 'roc.png'),
        draw_distances(scores, pairs.same, threshold, out_dir / 'distances.png'),
    ]
    if images is None:
        return drawn
    rows = []
    for index in worst_mistakes(scores, pairs.same, threshold):
        said = 'same person, taken for two' if pairs.same[index] else 'two people, taken for one'
        distance = f'distance {2 - 2 * scores[index]:.2f}, limit {2 - 2 * threshold:.2f}'
        first, second = (_face(images, str(file)) for file in pairs.files[index])
        rows.append(
            [
                Tile(first, [person_of(str(pairs.files[index][0])), distance], BAD),
                Tile(second, [person_of(str(pairs.files[index][1])), said], BAD),
            ]
        )
    return [*drawn, contact_sheet(rows, out_dir / 'mistakes.png', side=200)]


def _face(folder: str, file: str) -> np.ndarray:
    for path in (Path(folder, file), locate(Path(folder), file, person_of(file))):
        if path.is_file():
            return read_image(path)
    raise InputError(f'{folder}: has no {file}')
