"""The networks of a service, each behind a queue that makes micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import middle_square
from mbv1_backbone.common.prefetch import DECODERS, map_concurrently
from mbv1_backbone.face.finder import FaceDetector, FaceFinder, Faces, Place
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.inference.box_detector import BoxDetector
from mbv1_backbone.inference.classifier import Classifier
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.server.batching import Batcher
from mbv1_backbone.server.limits import Limits
from mbv1_backbone.server.metrics import Metrics
from mbv1_backbone.server.uploads import Picture

__all__ = ['FoundFace', 'Vision']

FoundFace = tuple[np.ndarray, Place]  # RGB uint8, of the embedder's size, and where it is


class Vision:
    """Networks that several threads ask at once.

    Args:
        limits: Of the service.
        metrics: Counts batches.
        detector: Of objects.
        classifier: Of images.
        embedder: Of faces; its finder finds them.

    Attributes:
        detector: The same.
        classifier: The same.
        embedder: The same.
    """

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        detector: Detector | None = None,
        classifier: Classifier | None = None,
        embedder: FaceEmbedder | None = None,
    ) -> None:
        self.detector, self.classifier, self.embedder = detector, classifier, embedder
        self._batchers: list[Batcher[Any, Any]] = []

        def batcher(name: str, run: Callable[[list[Any]], Iterable[Any]], workers: int) -> Batcher[Any, Any]:
            made: Batcher[Any, Any] = Batcher(run, limits.batch, limits.queue, workers, metrics.batches(name))
            metrics.watch(name, made.__len__)
            self._batchers.append(made)
            return made

        if detector is not None:
            self._objects = batcher('detector', detector.network.detect, detector.parallel)
        if classifier is not None:
            network = classifier.network
            self._classes = batcher(
                'classifier', lambda batch: network.run(np.stack(batch))[0], network.parallel
            )
        if embedder is not None:
            self._vectors = batcher('embedder', embedder.forward, embedder.parallel)
            finder = embedder.finder
            self._find: Callable[[np.ndarray, float], Faces] | None = None
            if finder is not None:
                finder.open()
                boxes = _box_detector(finder.detector)
                if boxes is None:
                    detect = finder.detector
                    self._find = lambda image, deadline: detect(image)
                else:
                    own = boxes.detector
                    self._find = _batched(boxes, batcher('face detector', own.network.detect, own.parallel))

    def objects(self, pictures: Sequence[Picture], deadline: float) -> list[Detections]:
        """What the detector finds in images, by descending score.

        Args:
            pictures: Decoded.
            deadline: By ``time.monotonic``.

        Raises:
            Refused: If the network does not come to them in time.
        """
        assert self.detector is not None
        prepare = self.detector.network.prepare
        items = _each(lambda picture: (picture.pixels, prepare(picture.pixels)), pictures)
        return self._objects(items, deadline)

    def probabilities(self, pictures: Sequence[Picture], deadline: float) -> list[np.ndarray]:
        """The classifier's probabilities (classes,) of each image.

        Args:
            pictures: Decoded.
            deadline: By ``time.monotonic``.

        Raises:
            Refused: If the network does not come to them in time.
        """
        assert self.classifier is not None
        spec = self.classifier.network.spec
        items = _each(lambda picture: middle_square(picture.pixels, spec.size[0], spec.crop), pictures)
        return self._classes(items, deadline)

    def faces(
        self, pictures: Sequence[Picture], policy: str, deadline: float
    ) -> list[list[FoundFace] | InputError]:
        """The faces of images, cut out for the embedder; of an image without any the reason.

        Args:
            pictures: Decoded.
            policy: Of several faces, as of ``FaceFinder``.
            deadline: By ``time.monotonic``.

        Raises:
            Refused: If the network does not come to them in time.
        """
        assert self.embedder is not None
        size, given, find = self.embedder.input_size, self.embedder.finder, self._find

        def faces_of(picture: Picture) -> list[FoundFace] | InputError:
            if given is None or find is None:
                return [(fit_square(picture.pixels, size), Place())]
            finder = FaceFinder(lambda image: find(image, deadline), policy, given.min_side, given.crops)
            try:
                return finder.find(picture.pixels, size)
            except InputError as error:
                return error

        return _each(faces_of, pictures)

    def vectors(self, faces: Sequence[FoundFace], deadline: float) -> np.ndarray:
        """Embeddings float32 (N, dimension) of faces.

        Args:
            faces: As ``faces`` gives them.
            deadline: By ``time.monotonic``.

        Raises:
            Refused: If the network does not come to them in time.
        """
        assert self.embedder is not None
        rows = self._vectors([face for face, _ in faces], deadline)
        return np.array(rows, np.float32).reshape(-1, self.embedder.dims)

    def close(self) -> None:
        """Finish what waits."""
        for batcher in self._batchers:
            batcher.close()


def _box_detector(detector: FaceDetector) -> BoxDetector | None:
    """Our detector, where a finder has one; None of others, which see one image at a time."""
    if (opened := getattr(detector, 'open', None)) is not None:
        detector = opened()
    return detector if isinstance(detector, BoxDetector) else None


def _batched(boxes: BoxDetector, batcher: Batcher[Any, Detections]) -> Callable[[np.ndarray, float], Faces]:
    """The same as the detector, with what others ask for in its batches."""
    prepare = boxes.detector.network.prepare

    def find(image: np.ndarray, deadline: float) -> Faces:
        [found] = batcher([(image, prepare(image))], deadline)
        return boxes.faces_of(found)

    return find


def _each(function: Callable[[Picture], Any], pictures: Sequence[Picture]) -> list[Any]:
    """A list of what a function gives of each; of several by some threads."""
    return list(map_concurrently(function, pictures, min(2 * DECODERS, len(pictures))))
