"""Whether an exported model still predicts what the PyTorch one does, on real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.protocols import Embeddings, evaluate_pairs, person_of, read_pairs
from mbv1_backbone.face.files import locate
from mbv1_backbone.inference.classifier import Classifier, FeatureExtractor
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.exportable import Exportable
from mbv1_backbone.inference.pytorch import MMDetDetection, in_torch, model_embedder
from mbv1_backbone.inference.resolve import Trained
from mbv1_backbone.runtime.sessions import Session
from mbv1_backbone.training.fake_quant import FakeQuantisation, Stage
from mbv1_backbone.weights.parity import MAX_LOST, MIN_COSINE, MIN_SAME, Parity, read_labels, top1

__all__ = [
    'Truth',
    'as_trained',
    'compare',
    'compare_backbones',
    'compare_classifiers',
    'compare_detectors',
    'compare_embedders',
]

_SCORE = 0.3  # of boxes that are compared
_OVERLAP = 0.8


@dataclass(frozen=True)
class Truth:
    """What lets a comparison tell how much accuracy is lost.

    Attributes:
        file: Of a detector, COCO annotations; of an embedder, a list of pairs; of a classifier, a name and a
            class number a line.
        root: Folder of the images that it names; by default its own.
    """

    file: str
    root: str | None = None

    @property
    def folder(self) -> Path:
        """Of the images."""
        return Path(self.root or Path(self.file).parent)


def as_trained(found: Trained, exported: Exportable, session: Session) -> str:
    """Have a network compute in PyTorch what it was trained to be in a file, and say what that is.

    Args:
        found: The network: where it was trained for int8, and the file is LiteRT's in int8, its weights and
            activations are rounded from here on.
        exported: What was exported of it.
        session: Of the file.
    """
    by_config = found.config is not None or found.kind == 'embedder'
    ranges, litert = exported.graph.ranges, session.backend.startswith('litert')
    if ranges is None or session.precision != 'int8' or not litert or not by_config:
        return 'fp32'
    FakeQuantisation(found.model, exported.spec.size).restore(ranges, found.name, Stage.FROZEN)
    return 'as rounded in training'


def compare(
    found: Trained, exported: Exportable, session: Session, images: Sequence[Path], truth: Truth | None = None
) -> Parity:
    """Run the same images through a network in PyTorch and through its exported file.

    Embedders and detectors are run in PyTorch as they are trained and tested, with their own preprocessing
    and prediction; classifiers and backbones by the graph that was exported.

    Args:
        found: The network.
        exported: What was exported of it.
        session: Of the file.
        images: Files.
        truth: For accuracy; a backbone has none.

    Raises:
        InputError: If an image or the truth cannot be read.
    """
    kind, precision = exported.spec.kind, session.precision
    if kind == 'embedder':
        reference = FaceEmbedder(model_embedder(found.model, found.recipe))
        return compare_embedders(reference, FaceEmbedder(session), precision, images, truth)
    if kind == 'detector':
        ours = Detector(MMDetDetection(found))
        return compare_detectors(ours, Detector.of_network(session), precision, images, truth)
    graph = in_torch(*exported, precision='fp32')
    if kind == 'classifier':
        return compare_classifiers(Classifier(graph), Classifier(session), precision, images, truth)
    return compare_backbones(FeatureExtractor(graph), FeatureExtractor(session), precision, images)


def compare_classifiers(
    ours: Classifier, exported: Classifier, precision: str, images: Sequence[Path], truth: Truth | None = None
) -> Parity:
    """Classify the same images with both; see ``compare``.

    Args:
        ours: In PyTorch, or what the export was made of.
        exported: Of the exported file.
        precision: Of the file: the tolerances are for it.
        images: Files.
        truth: Labelled images for top-1 accuracy; None to leave it out.
    """
    parity = Parity(dict(images=len(images)))
    before, after = (classifier.classify(images) for classifier in (ours, exported))
    _note_differences(parity, before, after)
    parity.require('same_top1', top1(before, after.argmax(1)), MIN_SAME[precision])
    if truth is not None:
        files, labels = read_labels(truth.file, truth.folder)
        _require_kept(
            parity, 'top1', *(top1(network.classify(files), labels) for network in (ours, exported))
        )
    return parity


def compare_backbones(
    ours: FeatureExtractor, exported: FeatureExtractor, precision: str, images: Sequence[Path]
) -> Parity:
    """Compare the maps of the same images, tap by tap; see ``compare``.

    Args:
        ours: In PyTorch, or what the export was made of.
        exported: Of the exported file.
        precision: Of the file: the tolerances are for it.
        images: Files.
    """
    parity = Parity(dict(images=len(images)))
    for tap, (before, after) in enumerate(
        zip(*(network.features(images) for network in (ours, exported)), strict=True)
    ):
        a, b = before.reshape(len(before), -1), after.reshape(len(after), -1)
        _note_differences(parity, a, b, f'_{tap}')
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = (a * b).sum(1) / np.maximum(lengths, 1e-12)
        parity.require(f'mean_cosine_{tap}', float(cosines.mean()), MIN_COSINE[precision])
    return parity


def compare_embedders(
    ours: FaceEmbedder,
    exported: FaceEmbedder,
    precision: str,
    images: Sequence[Path],
    truth: Truth | None = None,
) -> Parity:
    """Embed the same images with both; see ``compare``.

    Args:
        ours: In PyTorch, or what the export was made of.
        exported: Of the exported file.
        precision: Of the file: the tolerances are for it.
        images: Files.
        truth: Pairs of images for verification; None to leave it out.

    Raises:
        InputError: If an image cannot be read.
    """
    parity = Parity(dict(images=len(images)))
    found = [embedder.embed(images) for embedder in (ours, exported)]
    for place, why in sorted(found[0].failures.items()):  # of fewer images than it says nothing is compared
        file = str(images[place])
        raise InputError(why if file in why else f'{file}: {why}')
    before, after = (embedded.vectors for embedded in found)
    _note_differences(parity, before, after)
    cosines = (before * after).sum(1)
    parity.figures['least_cosine'] = cosines.min()
    parity.require('mean_cosine', float(cosines.mean()), MIN_COSINE[precision])
    if truth is not None:
        pairs = read_pairs(truth.file)
        files = sorted(set(pairs.files.ravel().tolist()))
        paths = [locate(truth.folder, file, person_of(file)) for file in files]
        accuracy = [
            evaluate_pairs(Embeddings(files, embedder.embed(paths, progress=True).vectors), pairs)[0][
                'accuracy'
            ]
            for embedder in (ours, exported)
        ]
        _require_kept(parity, 'accuracy', *accuracy)
    return parity


def compare_detectors(
    ours: Detector,
    exported: Detector,
    precision: str,
    images: Sequence[Path],
    truth: Truth | None = None,
) -> Parity:
    """Detect in the same images with both; see ``compare``.

    Args:
        ours: In PyTorch, or what the export was made of.
        exported: Of the exported file.
        precision: Of the file: the tolerances are for it.
        images: Files.
        truth: Annotated images for AP; None to leave it out.
    """
    from mbv1_backbone.inference.detector_parity import evaluate_detectors, mask_overlaps, share_of_same

    parity, same, both = Parity(dict(images=len(images))), 0, 0
    alike: list[float] = []
    for path in tqdm(images, unit='image', leave=False):
        pair = [detector.detect([path])[0] for detector in (ours, exported)]
        found = share_of_same(pair[0], pair[1], _SCORE, _OVERLAP)
        same, both = same + found[0], both + found[1]
        if pair[0].masks is not None:
            alike += mask_overlaps(pair[0], pair[1], _SCORE, _OVERLAP)
    if not both:
        parity.failures.append(f'neither finds anything in these images that scores {_SCORE} or more')
    parity.figures['boxes'] = both
    parity.require('same_boxes', same / max(1, both), MIN_SAME[precision])
    if alike:
        parity.require('same_masks', float(np.mean(np.array(alike) >= _OVERLAP)), MIN_SAME[precision])
    if truth is not None:
        before, after = evaluate_detectors(dict(pytorch=ours, exported=exported), truth.folder, truth.file)
        _require_kept(parity, 'ap', before.ap, after.ap)
        if before.mask_ap is not None and after.mask_ap is not None:
            _require_kept(parity, 'mask_ap', before.mask_ap, after.mask_ap)
    return parity


def _note_differences(parity: Parity, before: np.ndarray, after: np.ndarray, suffix: str = '') -> None:
    difference = np.abs(before - after)
    parity.figures[f'largest_difference{suffix}'] = difference.max()
    parity.figures[f'mean_difference{suffix}'] = difference.mean()


def _require_kept(parity: Parity, name: str, before: float, after: float) -> None:
    """Require what is left of the accuracy, 0..1, that the network has in PyTorch."""
    parity.figures[f'{name}_pytorch'] = before
    parity.require(name, after, before - MAX_LOST)
