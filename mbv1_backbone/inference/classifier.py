"""Classifiers and backbones as Python objects: image files or arrays in, probabilities or maps out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from mbv1_backbone.common.images import as_image, middle_square
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.runtime.sessions import Outputs, Session

ImageLike = str | os.PathLike[str] | np.ndarray


class ImageNetwork:
    """What classifiers and backbones share: they see the middle square, in the size of the input.

    Args:
        session: Of an exported network, or of one in PyTorch.

    Attributes:
        backend: What runs the network, and in which precision.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.backend = str(session)

    def _outputs(self, images: Sequence[ImageLike], batch_size: int) -> Iterator[Outputs]:
        """Of each batch; decoded by threads, ahead of the network."""
        prepared = prefetch(self._prepare, images, DECODERS, max_pending=2 * batch_size)
        return map_concurrently(self._run, batched(prepared, batch_size), self.session.parallel)

    def _prepare(self, image: ImageLike) -> np.ndarray:
        return middle_square(as_image(image), self.session.spec.size[0])

    def _run(self, batch: list[np.ndarray]) -> Outputs:
        return self.session.run(np.stack(batch))


class Classifier(ImageNetwork):
    """Classifies images.

    Example:
        >>> from mbv1_backbone.inference.loading import load
        >>> classifier = load('mbv1_1.0_imagenet.safetensors')  # doctest: +SKIP
        >>> classifier.classify(['dog.jpg']).argmax(1)  # doctest: +SKIP
        array([153])
    """

    def classify(self, images: Sequence[ImageLike], batch_size: int = 8) -> np.ndarray:
        """Probabilities float32 (N, classes) of files, or of RGB uint8 arrays (H, W, 3).

        Raises:
            InputError: If a file cannot be read.
        """
        return np.concatenate([found for (found,) in self._outputs(images, batch_size)])


class FeatureExtractor(ImageNetwork):
    """The backbone's maps."""

    def features(self, images: Sequence[ImageLike], batch_size: int = 8) -> tuple[np.ndarray, ...]:
        """A map float32 (N, channels, h, w) a tap, of files, or of RGB uint8 arrays (H, W, 3).

        Raises:
            InputError: If a file cannot be read.
        """
        taps = zip(*self._outputs(images, batch_size), strict=True)
        return tuple(np.concatenate(maps) for maps in taps)
