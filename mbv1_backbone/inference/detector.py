"""A trained detector as a Python object: image files or arrays in, boxes out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import as_image
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.inference.detections import Detections, ImageResult
from mbv1_backbone.inference.exported_detection import ExportedDetection
from mbv1_backbone.inference.inputs import ImageLike, as_images
from mbv1_backbone.runtime.sessions import Network

if TYPE_CHECKING:  # an exported detector needs neither mmengine nor mmdet
    from mmengine.config import Config

    from mbv1_backbone.inference.tracking import TrackedFrame
    from mbv1_backbone.video.sources import FilmLike

__all__ = ['DetectionNetwork', 'Detector']


class DetectionNetwork(Protocol):
    """What a ``Detector`` detects with: ``ExportedDetection``, or mmdet in PyTorch (``MMDetDetection``)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, by label."""

    @property
    def category_ids(self) -> tuple[int | str, ...]:
        """Ids in results, by label."""

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""

    @property
    def precision(self) -> str:
        """What the network computes in."""

    @property
    def parallel(self) -> int:
        """Batches that should go through the network at once."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""

    @property
    def settings(self) -> str:
        """SHA-256 of what the config says of the network; empty in files of early versions."""

    def prepare(self, image: np.ndarray, /) -> Any:
        """What the network is fed of an image, RGB uint8 (H, W, 3)."""

    def detect(self, batch: Sequence[tuple[np.ndarray, Any]], /) -> list[Detections]:
        """Detections of images, each with what ``prepare`` made of it."""


class Detector:
    """A detector that is ready to detect.

    Args:
        network: What it detects with.

    Example:
        >>> from mbv1_backbone.inference.loading import load
        >>> detector = load('ssd_mbv1_0.75_tf_bccd', kind='detector')  # doctest: +SKIP
        >>> detector.detect('cells.jpg')[0].above(0.5).boxes  # doctest: +SKIP

    Attributes:
        network: What it detects with.
        classes: Names, by label.
        category_ids: By label, those of the data set that it was trained on. Where they are not known: COCO's
            where the classes are COCO's, else label + 1, as ``mbv1 convert voc`` and ``mbv1 demo-data``
            number them.
    """

    def __init__(self, network: DetectionNetwork) -> None:
        self.network = network
        self.classes = network.classes
        self.category_ids = network.category_ids

    @classmethod
    def of_network(cls, network: Network) -> Detector:
        """Of an exported detector.

        Raises:
            InputError: If the network is of another kind.
        """
        return cls(ExportedDetection(network))

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = 'cpu',
        bf16: bool = False,
    ) -> Detector:
        """Build the model of a config, load its weights, and detect in PyTorch as mmdet does.

        Args:
            config: Of any mmdet detector; or a name in the model zoo alone.
            checkpoint: Of the config.
            device: Torch's name of it.
            bf16: Run the network in bfloat16: faster on processors that have it.

        Raises:
            InputError: If the config or the checkpoint is missing or wrong, or one is not the other's.
        """
        from mbv1_backbone.inference.pytorch import MMDetDetection
        from mbv1_backbone.inference.resolve import resolve

        return cls(MMDetDetection(resolve(config, checkpoint).expect('detector'), device, bf16))

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return self.network.backend

    @property
    def parallel(self) -> int:
        """Batches that go through the network at once."""
        return self.network.parallel

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return self.network.fingerprint

    def detect(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 8) -> list[Detections]:
        """Detect in images.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); a single one is the same as a list of one.
            batch_size: Images that go through the network at once.

        Returns:
            The detections of each image: of a single one, too, a list.

        Raises:
            InputError: If a file cannot be read.
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        found = []
        for result in self.stream(images, batch_size):
            if isinstance(result, InputError):
                raise result
            found.append(result.detections)
        return found

    def stream(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 8
    ) -> Iterator[ImageResult | InputError]:
        """Detect in images one after the other, without end if need be.

        Files are decoded and resized by threads, ahead of the network.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3); a single one is the same as a list of one.
            batch_size: Images that go through the network at once.

        Yields:
            Image and detections, or, of a file that cannot be read, why.

        Raises:
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        prepared = prefetch(self._prepare, as_images(images), DECODERS, max_pending=2 * batch_size)
        batches = batched(prepared, batch_size)
        for batch in map_concurrently(self._detect_batch, batches, self.parallel):
            yield from batch

    def track(self, source: FilmLike, **options: Any) -> Iterator[TrackedFrame]:
        """Detect in a film or camera, and follow what is found from frame to frame.

        Args:
            source: A film's file; a camera's number or ``/dev/videoN``; an address (``rtsp://``, ``http://``,
                ...); ``-`` for JPEG files on standard input; or RGB arrays uint8 (H, W, 3).
            **options: Of ``inference.tracking.track``: ``score_thr``, ``every``, ``lines``, ``zones``, ...

        Yields:
            Each frame with what is found in it.

        Raises:
            InputError: If the source or an option cannot be used.
            NotInstalledError: Without the extra ``[video]``, unless ``tracks=False``.

        Example:
            >>> for frame in detector.track('cells.mp4', every=2):  # doctest: +SKIP
            ...     print(frame.number, frame.seconds, frame.tracks, frame.detections.boxes)
        """
        from mbv1_backbone.inference.tracking import track

        return track(self, source, **options)

    def _prepare(self, image: ImageLike) -> tuple[np.ndarray, Any] | InputError:
        """The image, and what the network is fed of it."""
        try:
            array = as_image(image)
        except InputError as error:
            return error
        return array, self.network.prepare(array)

    def _detect_batch(
        self, batch: Sequence[tuple[np.ndarray, Any] | InputError]
    ) -> list[ImageResult | InputError]:
        readable = [item for item in batch if not isinstance(item, InputError)]
        found = iter(self.network.detect(readable) if readable else ())
        return [item if isinstance(item, InputError) else ImageResult(item[0], next(found)) for item in batch]

    def to_coco(self, detections: Detections, image_id: int, file_name: str) -> list[dict[str, Any]]:
        """One image's detections in COCO's result form, with the file's name and the class's.

        Masks are ``segmentation``, in COCO's run lengths.

        Args:
            detections: Of the image, boxes in pixels.
            image_id: Its number.
            file_name: Its name.
        """
        results = [
            dict(
                image_id=image_id,
                file_name=file_name,
                bbox=[round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                score=round(float(score), 5),
                category_id=self.category_ids[label],
                category_name=self.classes[label],
            )
            for (x1, y1, x2, y2), score, label in zip(
                detections.boxes, detections.scores, detections.labels, strict=True
            )
        ]
        if detections.masks is None:
            return results
        pairs = zip(results, detections.masks.rles(), strict=True)
        return [{**result, 'segmentation': rle} for result, rle in pairs]
