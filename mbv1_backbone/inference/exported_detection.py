"""Detection with an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mbv1_backbone.common.coco import category_ids
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.masks import Masks
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.inputs import by_size, fit
from mbv1_backbone.runtime.sessions import Network

__all__ = ['ExportedDetection']


class ExportedDetection:
    """Detection with a network that decodes and suppresses boxes itself: an exported file, or our graph.

    Args:
        network: Of a detector.

    Attributes:
        network: The same.
        classes: Names, by label.
        category_ids: Ids in results, by label.

    Raises:
        InputError: If the network is of another kind.
    """

    def __init__(self, network: Network) -> None:
        if network.spec.kind != 'detector':
            raise InputError(f'not a detector, but {network.spec.a_kind}')
        self.network = network
        self.classes = network.spec.classes
        self.category_ids = category_ids(self.classes, network.spec.category_ids)

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return str(self.network)

    @property
    def precision(self) -> str:
        """What the network computes in."""
        return self.network.precision

    @property
    def parallel(self) -> int:
        """Batches that should go through the network at once."""
        return self.network.parallel

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return self.network.spec.fingerprint

    @property
    def settings(self) -> str:
        """SHA-256 of what the config says of the network; empty in files of early versions."""
        return self.network.spec.settings

    def prepare(self, image: np.ndarray, /) -> tuple[np.ndarray, tuple[float, float]]:
        """The image in the size of the input, and by how much its width and height were scaled."""
        return fit(image, self.network.spec)

    def detect(self, batch: Sequence[tuple[np.ndarray, Any]], /) -> list[Detections]:
        """Detections in pixels of the images as given."""
        results: dict[int, Detections] = {}
        for same in by_size([image for _, (image, _) in batch]):
            outputs = self.network.run(np.stack([batch[index][1][0] for index in same]))
            for row, index in enumerate(same):
                array, (_, scale) = batch[index]
                results[index] = _in_image([output[row] for output in outputs], array.shape, scale)
        return [results[index] for index in range(len(batch))]


def _in_image(
    outputs: Sequence[np.ndarray], shape: tuple[int, ...], scale: tuple[float, float]
) -> Detections:
    """A network's outputs for one image, as detections in its pixels."""
    boxes, scores, labels, *more = outputs
    kept = scores > 0
    factors = np.array(scale, np.float32)
    limits = np.array([shape[1], shape[0]] * 2, np.float32)
    found = boxes[kept] / np.tile(factors, 2)
    inside = np.clip(found, 0, limits)
    marks = masks = None
    if more and more[0].ndim == 3:  # probabilities on a grid over each box, its part outside included
        masks = Masks.of_boxes(more[0][kept], found, (shape[0], shape[1]))
    elif more:
        marks = more[0][kept].reshape(-1, 5, 2) / factors
    return Detections(inside, scores[kept], labels[kept], marks, masks)
