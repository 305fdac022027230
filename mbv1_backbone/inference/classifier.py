"""Classifiers and backbones as Python objects: image files or arrays in, probabilities or maps out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import as_image, middle_square
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.inference.inputs import ImageLike, as_images
from mbv1_backbone.runtime.sessions import Network, Outputs

__all__ = ['Classifier', 'FeatureExtractor']


class _ImageNetwork:
    """What classifiers and backbones share: they see the middle square, in the size of the input."""

    kind: str

    def __init__(self, network: Network) -> None:
        if network.spec.kind != self.kind:
            raise InputError(f'not a {self.kind}, but {network.spec.a_kind}')
        self.network = network

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return str(self.network)

    def _outputs(self, images: ImageLike | Iterable[ImageLike], batch_size: int) -> Outputs:
        """Of all images; decoded by threads, ahead of the network."""
        prepared = prefetch(self._prepare, as_images(images), DECODERS, max_pending=2 * batch_size)
        batches = map_concurrently(self._run, batched(prepared, batch_size), self.network.parallel)
        found = [*batches] or [tuple(o[:0] for o in self._run([self._blank()]))]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _prepare(self, image: ImageLike) -> np.ndarray:
        return middle_square(as_image(image), self.network.spec.size[0])

    def _blank(self) -> np.ndarray:
        return np.zeros((self.network.spec.size[0],) * 2 + (3,), np.uint8)

    def _run(self, batch: list[np.ndarray]) -> Outputs:
        return self.network.run(np.stack(batch))


class Classifier(_ImageNetwork):
    """Classifies images.

    Args:
        network: Of a classifier.

    Attributes:
        network: The same.
        backend: What runs it, and in which precision.

    Raises:
        InputError: If the network is of another kind.

    Example:
        >>> from mbv1_backbone.inference.loading import load
        >>> classifier = load('mbv1_1.0_imagenet.safetensors', kind='classifier')  # doctest: +SKIP
        >>> classifier.classify('dog.jpg').argmax(1)  # doctest: +SKIP
        array([153])
    """

    kind = 'classifier'

    def classify(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 8) -> np.ndarray:
        """Probabilities float32 (N, classes).

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); a single one gives (1, classes).
            batch_size: Images that go through the network at once.

        Raises:
            InputError: If a file cannot be read.
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        return self._outputs(images, batch_size)[0]


class FeatureExtractor(_ImageNetwork):
    """The backbone's maps.

    Args:
        network: Of a backbone.

    Attributes:
        network: The same.
        backend: What runs it, and in which precision.

    Raises:
        InputError: If the network is of another kind.
    """

    kind = 'backbone'

    def features(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 8
    ) -> tuple[np.ndarray, ...]:
        """A map float32 (N, channels, h, w) a tap.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); of a single one, N is 1.
            batch_size: Images that go through the network at once.

        Raises:
            InputError: If a file cannot be read.
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        return self._outputs(images, batch_size)
