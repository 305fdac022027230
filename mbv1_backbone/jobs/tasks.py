"""What a job does with the images of a part: it embeds their faces, or detects in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.prefetch import DECODERS, prefetch
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.jobs.inputs import Encoded
from mbv1_backbone.jobs.tables import Failure, PartResult, detection_columns, face_columns

__all__ = ['DetectTask', 'EmbedTask', 'Task', 'detect_images', 'embed_images', 'task_of']


class Task(Protocol):
    """What a job does."""

    @property
    def about(self) -> dict[str, Any]:
        """What its output depends on, and what the file of a part says of itself; ``task`` is its name."""

    def run(self, images: Iterator[Encoded], batch_size: int) -> PartResult:
        """Work on the images of a part.

        Raises:
            InputError: If the images cannot be read on.
        """


@dataclass(frozen=True)
class EmbedTask:
    """Faces, embedded.

    Attributes:
        embedder: What embeds.
        flip: Average with the embedding of the mirrored face.
    """

    embedder: FaceEmbedder
    flip: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """As ``Task``."""
        return dict(
            task='embed',
            model=self.embedder.fingerprint,
            preprocessing=self.embedder.preprocessing,
            dims=self.embedder.dims,
            flip=self.flip,
            precision=_precision(self.embedder),
        )

    def run(self, images: Iterator[Encoded], batch_size: int) -> PartResult:
        """As ``Task``."""
        return embed_images(self.embedder, images, batch_size, self.flip)


@dataclass(frozen=True)
class DetectTask:
    """Objects, detected.

    Attributes:
        detector: What detects.
        score_thr: Detections of a lower score are left out.
    """

    detector: Detector
    score_thr: float = 0.3

    @property
    def about(self) -> dict[str, Any]:
        """As ``Task``."""
        return dict(
            task='detect',
            model=self.detector.fingerprint,
            settings=self.detector.network.settings,
            classes=list(self.detector.classes),
            category_ids=list(self.detector.category_ids),
            score_thr=self.score_thr,
            precision=_precision(self.detector),
        )

    def run(self, images: Iterator[Encoded], batch_size: int) -> PartResult:
        """As ``Task``."""
        return detect_images(self.detector, images, batch_size, self.score_thr)


def _precision(network: FaceEmbedder | Detector) -> str:
    """``'int8'``, or ``'float'``, whose precisions differ in their last digits alone.

    A file of a network in int8 has the fingerprint of the weights that it was made of.
    """
    return 'int8' if network.network.precision == 'int8' else 'float'


def task_of(network: FaceEmbedder | Detector, about: Mapping[str, Any]) -> Task:
    """What a network does in a job.

    Args:
        network: An embedder or a detector.
        about: ``flip`` of an embedder, ``score_thr`` of a detector, where they are not the usual ones.
    """
    if isinstance(network, Detector):
        return DetectTask(network, about.get('score_thr', 0.3))
    return EmbedTask(network, about.get('flip', False))


@dataclass
class _Log:
    """Images that go by, and those that cannot be read.

    Attributes:
        read: Source, name and SHA-256 of each image that is passed on.
        failures: Of the others, in the order in which they came.
    """

    read: list[tuple[str, str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def contents(self, images: Iterator[Encoded]) -> Iterator[bytes]:
        """The files' bytes."""
        for image in images:
            if image.content is None:
                self.failures.append(Failure(image.source, image.file, image.reason))
            else:
                self.read.append((image.source, image.file, hashlib.sha256(image.content).hexdigest()))
                yield image.content

    def result(self, columns: Mapping[str, Any], reasons: Mapping[int, str]) -> PartResult:
        """What a part gives.

        Args:
            columns: Of its table.
            reasons: Index of an image that was passed on -> why it gives nothing.
        """
        count = len(self.read) + sum(bool(failure.file) for failure in self.failures)
        left_out = [Failure(*self.read[index][:2], reason) for index, reason in reasons.items()]
        return PartResult(columns, [*self.failures, *left_out], count)


def embed_images(
    embedder: FaceEmbedder, images: Iterator[Encoded], batch_size: int = 8, flip: bool = False
) -> PartResult:
    """Embed the faces of images whose files are read; a few of these are in memory at any time.

    Args:
        embedder: What embeds.
        images: The files, and what could not be read.
        batch_size: Faces that go through the network at once.
        flip: Average with the embedding of the mirrored face.

    Raises:
        InputError: If the images cannot be read on.
    """
    log = _Log()
    found = embedder.embed(log.contents(images), batch_size, flip)
    mine = [log.read[index] for index in found.sources.tolist()]
    columns = face_columns(mine, found.places, found.vectors, embedder.fingerprint)
    return log.result(columns, found.failures)


def detect_images(
    detector: Detector, images: Iterator[Encoded], batch_size: int = 8, score_thr: float = 0.3
) -> PartResult:
    """Detect in images whose files are read; a few of these are in memory at any time.

    Args:
        detector: What detects.
        images: The files, and what could not be read.
        batch_size: Images that go through the network at once.
        score_thr: Detections of a lower score are left out.

    Raises:
        InputError: If the images cannot be read on.
    """
    log, reasons = _Log(), dict[int, str]()
    readable: list[int] = []

    def arrays() -> Iterator[Any]:
        decoded = prefetch(_decoded, log.contents(images), DECODERS, max_pending=2 * batch_size)
        for index, image in enumerate(decoded):
            if isinstance(image, InputError):
                reasons[index] = str(image)
            else:
                readable.append(index)
                yield image

    found: list[tuple[tuple[str, str, str], Detections]] = []
    for place, result in enumerate(detector.stream(arrays(), batch_size)):
        assert not isinstance(result, InputError)  # arrays are no files that could not be read
        found.append((log.read[readable[place]], result.detections.above(score_thr)))
    return log.result(detection_columns(found, detector.classes, detector.fingerprint), reasons)


def _decoded(content: bytes) -> Any:
    try:
        return read_image(content)
    except InputError as error:
        return error
