"""All that one process serves: networks, a gallery, keys and limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.classifier import Classifier
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import Curve, GalleryLike
from mbv1_backbone.retrieval.calibration import Compared, compare
from mbv1_backbone.server.keys import KeyFile
from mbv1_backbone.server.limits import Budget, Limits
from mbv1_backbone.server.metrics import Metrics
from mbv1_backbone.server.refusals import Refused, overloaded
from mbv1_backbone.server.vision import Vision

__all__ = ['Service']

_SECONDS = 60  # that what was compared of a gallery without counted changes stays


@dataclass(frozen=True)
class _Compared:
    """Scores of a gallery's faces with each other, and when they were computed, by ``time.monotonic``."""

    gallery: GalleryLike
    scores: Compared
    made: float

    def is_of(self, gallery: GalleryLike, change: int) -> bool:
        """Whether they are those of a gallery after a change; of one that counts none (0) for a minute."""
        fresh = change or time.monotonic() - self.made < _SECONDS
        return bool(fresh) and self.gallery is gallery and self.scores.change == change


class Service:
    """What ``create_app`` puts behind HTTP.

    Args:
        detector: Of objects; without it their routes refuse.
        classifier: Of images; likewise.
        embedder: Of faces; likewise.
        gallery: Of this embedder's model, open; it is closed with the service. Likewise.
        names: What the models are called, by role (``detector``, ``embedder``, ``classifier``).
        limits: What is taken in.
        keys: Of clients; None lets everybody do everything who reaches the service.
        backups: Folder for copies of the gallery, each in a new folder in it.
        keep_thumbnails: Whether a small picture of each enrolled face is kept in the gallery, with its entry.

    Raises:
        InputError: If there is nothing to serve, the gallery is of another model than the embedder, or there
            is no folder for backups.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        classifier: Classifier | None = None,
        embedder: FaceEmbedder | None = None,
        gallery: GalleryLike | None = None,
        names: dict[str, str] | None = None,
        limits: Limits | None = None,
        keys: KeyFile | None = None,
        backups: str | Path | None = None,
        keep_thumbnails: bool = False,
    ) -> None:
        if detector is None and classifier is None and embedder is None:
            raise InputError('nothing to serve: give a detector, a classifier or an embedder')
        if gallery is not None:
            if embedder is None:
                raise InputError(
                    f'{gallery.place}: a gallery needs an embedder, of the model it was made with'
                )
            gallery.check_model(embedder.fingerprint, embedder.preprocessing)
        if backups is not None and not Path(backups).is_dir():
            raise InputError(f'{backups}: no such folder for backups')
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.vision = Vision(self.limits, self.metrics, detector, classifier, embedder)
        self.gallery = gallery
        self.names = dict(names or {})
        self.keys = keys
        self.backups = None if backups is None else Path(backups)
        self.keep_thumbnails = keep_thumbnails
        self.budget = Budget(self.limits.pixels)
        self.active = 0
        self.metrics.watch_active(lambda: self.active)
        self._upkeep = threading.Lock()
        self._compared: _Compared | None = None

    def the_gallery(self) -> GalleryLike:
        """The gallery.

        Raises:
            Refused: If there is none.
        """
        if self.gallery is None:
            raise absent('gallery', '--faces')
        return self.gallery

    @contextmanager
    def upkeep(self) -> Iterator[None]:
        """Work on the whole gallery, of which there is one at a time.

        Raises:
            Refused: If there is one already.
        """
        if not self._upkeep.acquire(blocking=False):
            raise overloaded('the gallery is being worked on as a whole')
        try:
            yield
        finally:
            self._upkeep.release()

    def curve(self, points: int) -> Curve:
        """FPIR against DIR of the gallery; its faces are compared with each other once a change of it.

        A gallery on Milvus does not count its changes: there once a minute.

        Args:
            points: At most.

        Raises:
            InputError: If the gallery has too few people.
            Refused: If the gallery is being worked on as a whole.
        """
        gallery = self.the_gallery()
        with gallery.one_state() as change:
            pass
        known = self._compared
        if known is None or not known.is_of(gallery, change):
            with self.upkeep():
                known = self._compared = _Compared(gallery, compare(gallery), time.monotonic())
        return known.scores.curve(points)

    def close(self) -> None:
        """Finish what the networks have, bring the gallery's index up to date, and close it."""
        self.vision.close()
        if self.gallery is not None:
            try:
                if not self.gallery.read_only:
                    self.gallery.optimize()
            finally:
                self.gallery.close()


def absent(what: str, option: str) -> Refused:
    """The refusal where the service was started without something."""
    return Refused(409, 'not_configured', f'this service has no {what}: it was started without {option}')
