"""Whether an exported model still answers as the PyTorch one does, on real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from mbv1_backbone.errors import InputError
from mbv1_backbone.face.datasets import locate
from mbv1_backbone.face.embedder import FaceEmbedder
from mbv1_backbone.face.protocols import Embeddings, evaluate_pairs, person_of, read_pairs

if TYPE_CHECKING:  # faces do without mmdet
    from mbv1_backbone.detection.detector import Detector

LEAST_COSINE = dict(fp32=0.9999, bf16=0.99, int8=0.95)  # mean over the images, by what is computed in
LEAST_SAME = dict(fp32=0.99, bf16=0.95, int8=0.85)  # share of boxes
MOST_LOST = 0.005  # of AP or of verification accuracy
_SCORE = 0.3  # of boxes that are compared
_OVERLAP = 0.8


@dataclass
class Parity:
    """A comparison: figures by name, and what is out of tolerance, one line each."""

    figures: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def require(self, name: str, value: float, least: float) -> None:
        """Note a figure that must not be less than ``least``."""
        self.figures[name] = value
        if not value >= least:
            self.failures.append(f'{name} is {value:.4f}, at least {least:g} is asked')


def compare_embedders(
    ours: FaceEmbedder,
    exported: FaceEmbedder,
    precision: str,
    images: Sequence[Path],
    pairs: str | None = None,
    root: str | None = None,
) -> Parity:
    """Embed the same images with both.

    Args:
        ours: In PyTorch.
        exported: From the file.
        precision: That it computes in.
        images: Files.
        pairs: List of pairs for verification accuracy.
        root: Folder that it starts from.

    Raises:
        InputError: If none of the images can be read.
    """
    parity = Parity(dict(images=len(images)))
    before, after = (embedder.embed(images).vectors for embedder in (ours, exported))
    if not len(before):
        raise InputError(f'none of {len(images)} images could be read; the first: {images[0]}')
    difference = np.abs(before - after)
    parity.figures |= dict(largest_difference=difference.max(), mean_difference=difference.mean())
    cosines = (before * after).sum(1)
    parity.figures['least_cosine'] = cosines.min()
    parity.require('mean_cosine', float(cosines.mean()), LEAST_COSINE[precision])
    if pairs is not None:
        told = read_pairs(pairs)
        folder, files = Path(root or Path(pairs).parent), sorted(set(told.files.ravel().tolist()))
        paths = [locate(folder, file, person_of(file)) for file in files]
        accuracy = [
            evaluate_pairs(Embeddings(files, embedder.embed(paths, progress=True).vectors), told)[0][
                'accuracy'
            ]
            for embedder in (ours, exported)
        ]
        parity.figures['accuracy_pytorch'] = accuracy[0]
        parity.require('accuracy', accuracy[1], accuracy[0] - MOST_LOST)
    return parity


def compare_detectors(
    ours: Detector,
    exported: Detector,
    precision: str,
    images: Sequence[Path],
    ann_file: str | None = None,
    root: str | None = None,
) -> Parity:
    """Detect in the same images with both.

    Args:
        ours: In PyTorch.
        exported: From the file.
        precision: That it computes in.
        images: Files.
        ann_file: COCO annotations, for AP.
        root: Folder of their images.

    Raises:
        InputError: If an image cannot be read.
    """
    from mbv1_backbone.detection.agreement import evaluate_detectors, share_of_same

    parity, same, both = Parity(dict(images=len(images))), 0, 0
    for path in tqdm(images, unit='image', leave=False):
        pair = [detector.detect([path])[0] for detector in (ours, exported)]
        found = share_of_same(pair[0], pair[1], _SCORE, _OVERLAP)
        same, both = same + found[0], both + found[1]
    if not both:
        parity.failures.append(f'neither finds anything in these images that scores {_SCORE} or more')
    parity.figures['boxes'] = both
    parity.require('same_boxes', same / max(1, both), LEAST_SAME[precision])
    if ann_file is not None:
        folder = root or str(Path(ann_file).parent)
        before, after = evaluate_detectors(dict(pytorch=ours, exported=exported), folder, ann_file)
        parity.figures['ap_pytorch'] = before.ap
        parity.require('ap', after.ap, before.ap - MOST_LOST)
    return parity
