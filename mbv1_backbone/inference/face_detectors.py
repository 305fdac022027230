"""Face detectors by name: what ``--detector`` and ``load(..., finder=...)`` take."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError, Mbv1Error, NotInstalledError, one_line
from mbv1_backbone.face.finder import FaceFinder, Faces, YuNet
from mbv1_backbone.inference.box_detector import BoxDetector

__all__ = ['AUTO', 'AutoDetector', 'NamedDetector', 'named_finder']

AUTO = 'biubug6/retinaface_mobilenet0.25'  # in the zoo


class NamedDetector:
    """A face detector of the zoo, or of a file of ours, fetched and opened at its first use.

    Args:
        source: As ``load`` takes it.

    Attributes:
        identity: What a gallery is tied to.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.identity = source if not Path(source).is_file() else Path(source).name
        self._lock = threading.Lock()
        self._detector: BoxDetector | None = None

    def open(self) -> BoxDetector:
        """The detector, ready.

        Raises:
            InputError: If it cannot be had, or finds no faces.
            NotInstalledError: If a package is missing.
        """
        with self._lock:
            if self._detector is None:
                self._detector = self._load()
            return self._detector

    def _load(self) -> BoxDetector:
        from mbv1_backbone.inference.loading import load

        # float32: with fewer bits landmarks move, and embeddings with them
        return BoxDetector(load(self.source, kind='detector', mode='throughput', precision='fp32'))

    def __call__(self, image: np.ndarray) -> Faces:
        """Faces of an image, RGB uint8 (H, W, 3)."""
        return (self._detector or self.open())(image)

    def __getstate__(self) -> dict[str, Any]:  # another process opens it anew
        return {'source': self.source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)


class AutoDetector(NamedDetector):
    """The one that is taken where none is named: RetinaFace on MobileNetV1 .25, of the zoo."""

    def __init__(self, source: str = AUTO) -> None:
        super().__init__(source)
        self.identity = f'auto: {AUTO}'

    def _load(self) -> BoxDetector:
        try:
            return super()._load()
        except Mbv1Error as error:
            kind = NotInstalledError if isinstance(error, NotInstalledError) else InputError
            raise kind(_cannot_be_had(one_line(error))) from error
        except ImportError as error:
            install = f"it needs {error.name}: pip install 'mbv1-backbone[detection]'"
            raise NotInstalledError(_cannot_be_had(install), name=error.name) from error


def _cannot_be_had(reason: str) -> str:
    return (
        f'the face detector {AUTO} cannot be had: {reason}; --detector none (in Python finder=None) takes '
        'images as they are'
    )


def named_finder(detector: str | os.PathLike[str] | None, policy: str = 'largest') -> FaceFinder | None:
    """The finder that a user asks for.

    Args:
        detector: ``'auto'``: RetinaFace, and face crops are taken as they are, see ``FaceFinder``; ``'none'``
            or None; a name in the zoo; a file of ``mbv1 export``, or YuNet's ``.onnx``.
        policy: See ``FaceFinder``.

    Raises:
        InputError: If there is no such file and no such name.
    """
    name = 'none' if detector is None else os.fspath(detector)
    if name == 'none':
        return None
    if name == 'auto':
        return FaceFinder(AutoDetector(), policy, crops=True)
    if Path(name).suffix == '.onnx' and not _is_ours(name):
        return FaceFinder(YuNet(name), policy)
    found = NamedDetector(name)
    found.open()
    return FaceFinder(found, policy)


def _is_ours(path: str) -> bool:
    """Whether ``mbv1 export`` wrote an ONNX file, by the key of what it says of itself."""
    try:
        return b'"fingerprint"' in Path(path).read_bytes()
    except OSError as error:
        raise InputError(f'face detector {path}: {error.strerror}') from error
