"""Classifiers and backbones as Python objects: image files or arrays in, probabilities or maps out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import as_image, middle_square
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.inference.inputs import ImageLike, as_images
from mbv1_backbone.models.imagenet import imagenet_classes
from mbv1_backbone.runtime.sessions import Network, Outputs

__all__ = ['Classifier', 'FeatureExtractor', 'ImageClass', 'ImageClasses']

_IMAGENET = 1000  # classes


class ImageClass(NamedTuple):
    """A class that a network sees on an image.

    Attributes:
        label: Its index.
        name: Its name.
        score: Its probability.
    """

    label: int
    name: str
    score: float


class ImageClasses(NamedTuple):
    """An image, RGB uint8 (H, W, 3), and the classes seen on it, the likeliest first."""

    image: np.ndarray
    classes: list[ImageClass]


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
        return self._fit(as_image(image))

    def _fit(self, image: np.ndarray) -> np.ndarray:
        spec = self.network.spec
        return middle_square(image, spec.size[0], spec.crop)

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
        classes: Names of the classes by label.

    Raises:
        InputError: If the network is of another kind.

    Example:
        >>> from mbv1_backbone.inference.loading import load
        >>> classifier = load('mbv1_1.0_imagenet.safetensors', kind='classifier')  # doctest: +SKIP
        >>> classifier.classify('dog.jpg').argmax(1)  # doctest: +SKIP
        array([153])
    """

    kind = 'classifier'

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label, as ``classes_of`` says them."""
        known = self.network.spec.classes
        return known or tuple(self.classes_of(self._run([self._blank()])[0].shape[1]))

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

    def stream(
        self, images: ImageLike | Iterable[ImageLike], top: int = 5, batch_size: int = 8
    ) -> Iterator[ImageClasses | InputError]:
        """Classify images one after the other, without end if need be.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); a single one is the same as a list of one.
            top: Classes of each, at most.
            batch_size: Images that go through the network at once.

        Yields:
            Image and classes, or, of a file that cannot be read, why.

        Raises:
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        prepared = prefetch(self._read, as_images(images), DECODERS, max_pending=2 * batch_size)
        for batch in map_concurrently(
            self._classify_batch, batched(prepared, batch_size), self.network.parallel
        ):
            for item, scores in batch:
                yield item if scores is None else ImageClasses(item, self.top(scores, top))

    def top(self, scores: np.ndarray, count: int = 5) -> list[ImageClass]:
        """The likeliest classes of an image, by name.

        Args:
            scores: Probabilities (classes,), a row of ``classify``.
            count: Of them, at most.
        """
        names = self.classes_of(len(scores))
        order = np.argsort(-scores, kind='stable')[:count]
        return [ImageClass(int(label), names[label], float(scores[label])) for label in order]

    def classes_of(self, count: int) -> Sequence[str]:
        """Names of the classes: the network's own; of a thousand without names ImageNet's; else numbers.

        Args:
            count: Of the classes.
        """
        if len(self.network.spec.classes) == count:
            return self.network.spec.classes
        return imagenet_classes() if count == _IMAGENET else [f'class {number}' for number in range(count)]

    def _read(self, image: ImageLike) -> tuple[np.ndarray, np.ndarray] | InputError:
        """The image, and what the network is fed of it."""
        try:
            array = as_image(image)
        except InputError as error:
            return error
        return array, self._fit(array)

    def _classify_batch(
        self, batch: Sequence[tuple[np.ndarray, np.ndarray] | InputError]
    ) -> list[tuple[Any, np.ndarray | None]]:
        readable = [item[1] for item in batch if not isinstance(item, InputError)]
        rows = iter(self._run(readable)[0] if readable else ())
        return [(item, None) if isinstance(item, InputError) else (item[0], next(rows)) for item in batch]


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
