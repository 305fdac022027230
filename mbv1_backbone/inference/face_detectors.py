"""Face detectors by name: what ``--detector`` and ``load(..., finder=...)`` take."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.content import content_name
from mbv1_backbone.common.errors import InputError, Mbv1Error, NotInstalledError, one_line
from mbv1_backbone.face.finder import FaceFinder, Faces, YuNet
from mbv1_backbone.inference.box_detector import BoxDetector
from mbv1_backbone.runtime.sessions import files_of, is_exported
from mbv1_backbone.weights.cache import sha256_of
from mbv1_backbone.weights.zoo import config_of

__all__ = ['AUTO', 'AutoDetector', 'NamedDetector', 'file_identity', 'named_finder']

AUTO = 'biubug6/retinaface_mobilenet0.25'  # in the zoo
_LANDMARKS = 'bbox_head.landmark_convs.0.weight'  # that only RetinaFace has


class NamedDetector:
    """A face detector of the zoo, or of a file of ours, fetched and opened at its first use.

    Args:
        source: As ``load`` takes it; or RetinaFace's weights in a file of their own, as they are released.

    Attributes:
        identity: What a gallery is tied to: a name in the zoo, or the content of the file.
        file: The file, where it is one.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.file = source if Path(source).is_file() else None
        self.identity = source if self.file is None else file_identity(self.file)
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
        parts = (
            _config_and_weights(self.source) if self.file and not is_exported(self.file) else (self.source,)
        )
        return BoxDetector(load(*parts, kind='detector', mode='throughput', precision='fp32'))

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


def file_identity(file: str | os.PathLike[str]) -> str:
    """What a gallery that is made with a detector's file is tied to: its name and its content.

    Args:
        file: Of OpenVINO the ``.xml``, whose ``.bin`` counts, too.
    """
    path = Path(file)
    hashes = [sha256_of(part) for part in files_of(path) if part.is_file()]
    one = hashes[0] if len(hashes) == 1 else hashlib.sha256(' '.join(hashes).encode()).hexdigest()
    return content_name(path.name, one)


def _config_and_weights(source: str) -> tuple[str, Path]:
    """The zoo's config of RetinaFace, and a file's weights as ours.

    Raises:
        InputError: If they are of another network: its config is not known.
    """
    from mbv1_backbone.weights.external import import_local
    from mbv1_backbone.weights.store import read_safetensors

    try:
        imported = import_local(Path(source))
        is_retinaface = _LANDMARKS in read_safetensors(imported)[0]
        reason = 'no RetinaFace on MobileNetV1 .25'
    except InputError as error:
        is_retinaface, reason = False, one_line(error)
    config = config_of(AUTO)
    if not is_retinaface or config is None:
        raise InputError(
            f'face detector {source}: {reason}; give another detector as an exported file: mbv1 export '
            f'CONFIG {source} --to onnx --out detector.onnx --images PHOTOGRAPHS'
        )
    return str(config), imported


def _cannot_be_had(reason: str) -> str:
    return (
        f'the face detector {AUTO} cannot be had: {reason}; the face detector none (in Python finder=None) '
        'takes images as they are'
    )


def named_finder(detector: str | os.PathLike[str] | None, policy: str = 'largest') -> FaceFinder | None:
    """The finder that a user asks for.

    Args:
        detector: ``'auto'``: RetinaFace, and face crops are taken as they are, see ``FaceFinder``; ``'none'``
            or None; a name in the zoo; a file of ``mbv1 export``, YuNet's ``.onnx``, or RetinaFace's weights.
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
