"""What ``load`` has exported, kept for the next start.

A file is found by all that it was made of: the bytes of weights and config, the format, and the versions of
this package, its code and the libraries that build and write the graph. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mbv1_backbone.common.code import hash_of_code
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.common.resources import find_config
from mbv1_backbone.inference.config_files import config_files
from mbv1_backbone.runtime.spec import FORMAT, OPSET
from mbv1_backbone.weights.cache import cache_folder
from mbv1_backbone.weights.parts import content_of
from mbv1_backbone.weights.zoo import config_of, find_checkpoint, zoo_names

__all__ = ['PathLike', 'export_key', 'find', 'keep', 'key_of']

_LIBRARIES = ('mbv1-backbone', 'torch', 'torchvision', 'onnx', 'mmengine', 'mmdet', 'mmpretrain')
# What an export depends on.
_ROOMS = (
    *('common', 'compat', 'models', 'weights', 'classification', 'detection', 'face'),
    *('runtime', 'export', 'training', 'inference'),
)
_MAX_FILES = 32
_DAY = 24 * 3600  # seconds
PathLike = str | os.PathLike[str]


def export_key(source: PathLike, checkpoint: PathLike | None = None) -> str | None:
    """Under which the export of a source is kept, told without reading more than bytes.

    Args:
        source: As ``load`` takes it.
        checkpoint: Of a config.

    Returns:
        None where that cannot be told: of a URL, of weights in several files, of a config with code of a
        user's own, or of a checkpoint without a config, which ``resolve`` refuses.

    Raises:
        InputError: If there is no such config.
    """
    by_config = Path(source).suffix == '.py'
    if checkpoint is not None and not by_config:
        return None
    weights = checkpoint if by_config else source
    if weights is None or '://' in os.fspath(weights):
        return None
    if not Path(weights).is_file() and os.fspath(weights) not in zoo_names():
        return None  # of several files, or of none
    return key_of(find_checkpoint(weights), find_config(source) if by_config else config_of(source))


def key_of(weights: Path, config: Path | None) -> str | None:
    """Of files; None where they do not tell all that the export depends on."""
    files = [] if config is None else config_files(config)
    if files is None or not weights.is_file():
        return None
    try:
        content = content_of(weights)
    except InputError:  # a part is missing, which whoever reads them says
        return None
    made_of = dict(
        weights=content,
        config=[(path.name, _sha256(path)) for path in files],
        format=FORMAT,
        opset=OPSET,
        precision='fp32',
        libraries={name: _version(name) for name in _LIBRARIES},
        code=hash_of_code(_ROOMS),
    )
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:40]


def find(key: str) -> Path | None:
    """The file that is kept under a key; None where there is none, or it is damaged."""
    path = _file(key)
    try:
        if _sha256(path) != path.with_suffix('.sha256').read_text():
            return None
    except OSError:
        return None
    with suppress(OSError):  # a shared cache may be read-only
        os.utime(path)
    return path


def keep(key: str, write: Callable[[Path], None]) -> Path | None:
    """Write a file under a key, atomically; of those not used for longest, some make room.

    Args:
        key: Of ``export_key``.
        write: Writes the file to the path that it is given.

    Returns:
        The file; None, with a line in the log, where the cache's folder cannot be written to.
    """
    path = _file(key)
    try:
        write(path)
        write_atomically(path.with_suffix('.sha256'), _sha256(path).encode())
        _make_room(path.parent)
    except OSError as error:
        logging.getLogger('mbv1_backbone').warning(
            '%s: cannot be written (%s): what load() exports is not kept for the next start',
            path.parent,
            getattr(error, 'strerror', None) or error,
        )
        return None
    return path


def _file(key: str) -> Path:
    return cache_folder() / 'exported' / f'{key}.onnx'


def _make_room(folder: Path) -> None:
    files = sorted(folder.glob('*.onnx'), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_MAX_FILES:]:
        path.unlink(missing_ok=True)
        path.with_suffix('.sha256').unlink(missing_ok=True)
    for leftover in folder.glob('.*'):  # of exports that were killed
        if time.time() - leftover.stat().st_mtime > _DAY:
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
