"""A network over cells of the earth as a Python object: photographs in, places out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mbv1_backbone.classification.partition import Partition
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.classifier import Classifier, ImageClass
from mbv1_backbone.inference.inputs import ImageLike
from mbv1_backbone.inference.loading import load

__all__ = ['Located', 'Location', 'Locator']


class Location(NamedTuple):
    """A cell that a photograph may be from.

    Attributes:
        cell: S2's token of it.
        latitude: Where photographs of the cell were taken on the average, degrees.
        longitude: Likewise.
        probability: That the photograph is from there, 0..1.
    """

    cell: str
    latitude: float
    longitude: float
    probability: float


class Located(NamedTuple):
    """A photograph, RGB uint8 (H, W, 3), and the cells that it may be from, the likeliest first."""

    image: np.ndarray
    locations: list[Location]


class Locator:
    """Says where photographs were taken.

    Args:
        classifier: Whose classes are cells of the earth.
        name: Of it, for the message.

    Raises:
        InputError: If they are not, or the network has more or fewer.

    Example:
        >>> locator = Locator.load('places.onnx')  # doctest: +SKIP
        >>> locator.locate('beach.jpg')[0][0]  # doctest: +SKIP
        Location(cell='4766ac', latitude=45.18, longitude=15.71, probability=0.31)
    """

    def __init__(self, classifier: Classifier, name: str = 'the classifier') -> None:
        if not classifier.network.spec.places:
            raise InputError(f'{name}: not a network of places: its classes are not cells of the earth')
        self.classifier = classifier
        spec = classifier.network.spec
        Partition.of_classes(spec.classes, spec.places, spec.photos, name)
        scores = classifier.network.run(np.zeros((1, *spec.size, 3), np.uint8))[0]
        if scores.shape[1] != len(spec.places):
            raise InputError(f'{name}: {scores.shape[1]} classes, but {len(spec.places)} cells')

    @classmethod
    def load(
        cls, source: str | os.PathLike[str], checkpoint: str | os.PathLike[str] | None = None, **options: Any
    ) -> Locator:
        """Read a network.

        Args:
            source: Exported file, or a config, whose checkpoint follows.
            checkpoint: Of the config.
            **options: Of ``load``: ``backend``, ``threads``, ``mode``, ``precision``.

        Raises:
            InputError: If something is missing or wrong, or the network is not one of places.
        """
        return cls(load(source, checkpoint, kind='classifier', **options), os.fspath(checkpoint or source))

    def locate(
        self, images: ImageLike | Iterable[ImageLike], top: int = 5, batch_size: int = 8
    ) -> list[list[Location]]:
        """The likeliest cells of each photograph, the best first.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); a single one is the same as a list of one.
            top: Cells of each, at most.
            batch_size: Photographs that go through the network at once.

        Raises:
            InputError: If a file cannot be read.
        """
        rows = self.classifier.classify(images, batch_size)
        return [self._locations(self.classifier.top(row, top)) for row in rows]

    def stream(
        self, images: ImageLike | Iterable[ImageLike], top: int = 5, batch_size: int = 8
    ) -> Iterator[Located | InputError]:
        """The same, one photograph after the other.

        Args:
            images: Files or arrays.
            top: Cells of each, at most.
            batch_size: Photographs that go through the network at once.

        Yields:
            Photograph and cells, or, of a file that cannot be read, why.
        """
        for found in self.classifier.stream(images, top, batch_size):
            if isinstance(found, InputError):
                yield found
            else:
                yield Located(found.image, self._locations(found.classes))

    def _locations(self, classes: list[ImageClass]) -> list[Location]:
        places = self.classifier.network.spec.places
        return [Location(found.name, *places[found.label], found.score) for found in classes]
