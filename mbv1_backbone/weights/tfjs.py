"""TensorFlow.js weights: a graph model or a bare weights manifest, in shards, whole or in 8 or 16 bits.

Format: https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts (``WeightsManifestConfig``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights.parts import manifest_of, shard_of
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.tfjs_face import is_tfjs_face, read_tfjs_age_gender, read_tfjs_face
from mbv1_backbone.weights.tfjs_ssd import is_tfjs_ssd, read_tfjs_ssd

__all__ = ['read_age_gender', 'read_tensors', 'read_tfjs']

_TYPES = dict(float32='<f4', int32='<i4', uint8='u1', bool='u1', float16='<f2', uint16='<u2')


def read_tfjs(path: str | os.PathLike[str]) -> Weights:
    """Import a TensorFlow.js model.

    Args:
        path: ``model.json`` of a graph model, or ``*weights_manifest.json``; its shards lie beside it.

    Raises:
        InputError: If a file is missing or damaged, or the network is none that is known.
    """
    tensors = read_tensors(path)
    if is_tfjs_face(tensors):
        return read_tfjs_face(tensors, str(path))
    if is_tfjs_ssd(tensors):
        return read_tfjs_ssd(tensors, str(path))
    raise InputError(f'{path}: a TensorFlow.js model, but neither the VGGFace2 MobileNetV1 nor an SSD')


def read_age_gender(path: str | os.PathLike[str]) -> Weights:
    """Import the VGGFace2 MobileNetV1 with its heads of age and gender, for ``AgeGenderModel``.

    Raises:
        InputError: If a file is missing or damaged, or is another network.
    """
    tensors = read_tensors(path)
    if not is_tfjs_face(tensors):
        raise InputError(f'{path}: not the VGGFace2 MobileNetV1, which has heads of age and gender')
    return read_tfjs_age_gender(tensors, str(path))


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors by name, quantised ones as float32.

    Raises:
        InputError: If the manifest or a shard is missing, damaged, or of another length than it says.
    """
    path = Path(path)
    try:
        groups = manifest_of(json.loads(path.read_text(encoding='utf-8')), path)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: not a readable TensorFlow.js manifest: {error}') from error
    tensors: dict[str, np.ndarray] = {}
    for group in groups:
        content = b''.join(_shard(path, str(name)) for name in group['paths'])
        offset = 0
        for entry in group['weights']:
            values, offset = _tensor(entry, content, offset, path)
            tensors[str(entry['name'])] = values
        if offset != len(content):
            raise InputError(f'{path}: its shards hold {len(content)} bytes, the manifest names {offset}')
    return tensors


def _shard(manifest: Path, name: str) -> bytes:
    path = shard_of(manifest, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{manifest}: its shard {name} cannot be read: {error.strerror}') from error


def _tensor(entry: Mapping[str, Any], content: bytes, offset: int, path: Path) -> tuple[np.ndarray, int]:
    """A tensor from its place in the shards, and where the next one begins."""
    try:
        shape = tuple(int(side) for side in entry['shape'])
        quantised = entry.get('quantization') or {}
        stored = np.dtype(_TYPES[entry['dtype']])
        if quantised:
            stored = np.dtype(_TYPES[quantised['dtype']])
        count = int(np.prod(shape, dtype=np.int64))
        if min(shape, default=0) < 0 or offset + count * stored.itemsize > len(content):
            raise InputError(f'{path}: the shards are too short for {entry["name"]}')
        values = np.frombuffer(content, stored, count, offset).reshape(shape)
        if quantised and stored.kind != 'f':  # float16 is read as it is
            scale, least = float(quantised['scale']), float(quantised['min'])
            if not np.isfinite([scale, least]).all():
                raise InputError(f'{path}: {entry["name"]} has a scale of {scale:g} and a min of {least:g}')
            values = values.astype(np.float32) * np.float32(scale) + np.float32(least)
        if entry['dtype'] == 'float32':
            values = values.astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: a damaged entry of the manifest: {error!r}') from error
    return values, offset + count * stored.itemsize
