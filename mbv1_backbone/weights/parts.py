"""Which files weights consist of: one, or several that lie beside each other. Needs no torch."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights.cache import sha256_of

__all__ = ['content_of', 'is_checkpoint', 'is_tfjs', 'manifest_of', 'parts_of', 'shard_of']


def parts_of(path: str | os.PathLike[str]) -> list[Path]:
    """All files of weights: of a TensorFlow.js model its JSON and shards, of a checkpoint index and data.

    Args:
        path: As ``import_weights`` takes a file; of a TensorFlow checkpoint its prefix, or its index.

    Raises:
        InputError: If a part is missing.
    """
    path = Path(path)
    if is_checkpoint(path):
        prefix = str(path).removesuffix('.index')
        data = sorted(glob.glob(f'{glob.escape(prefix)}.data-*-of-*'))
        if not data:
            raise InputError(f'{prefix}.index: no {Path(prefix).name}.data-00000-of-00001 beside it')
        return [Path(f'{prefix}.index'), *map(Path, data)]
    if not is_tfjs(path):
        return [path]
    groups = manifest_of(json.loads(path.read_text(encoding='utf-8')), path)
    shards = [shard_of(path, str(name)) for group in groups for name in group['paths']]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise InputError(f'{path}: its shard {missing[0]} cannot be read: no such file')
    return [path, *shards]


def content_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of weights, over all their files: of one file its own.

    Raises:
        InputError: If a part is missing.
    """
    hashes = [sha256_of(part) for part in parts_of(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(' '.join(hashes).encode()).hexdigest()


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a TensorFlow checkpoint's prefix, or the index that lies there."""
    return Path(f'{str(path).removesuffix(".index")}.index').is_file()


def is_tfjs(path: str | os.PathLike[str]) -> bool:
    """Whether a file is the JSON of a TensorFlow.js model: a weights manifest, alone or inside a model."""
    path = Path(path)
    if path.suffix != '.json' or not path.is_file():
        return False
    try:
        manifest_of(json.loads(path.read_text(encoding='utf-8')), path)
    except (OSError, ValueError):
        return False
    return True


def manifest_of(content: Any, path: Path) -> list[dict[str, Any]]:
    """Groups of tensors, each with ``paths`` and ``weights``, of the JSON of a TensorFlow.js model.

    Args:
        content: Of the JSON.
        path: Named in errors.

    Raises:
        InputError: If it has no manifest.
    """
    groups = content.get('weightsManifest') if isinstance(content, dict) else content
    fits = isinstance(groups, list) and all(
        isinstance(g, dict) and isinstance(g.get('paths'), list) and isinstance(g.get('weights'), list)
        for g in groups
    )
    if not groups or not fits:
        raise InputError(f'{path}: no weights manifest of TensorFlow.js')
    return groups


def shard_of(manifest: Path, name: str) -> Path:
    """The file of a shard.

    Raises:
        InputError: If it does not lie beside the manifest.
    """
    if Path(name).name != name:
        raise InputError(f'{manifest}: a shard must lie beside it, got {name!r}')
    return manifest.parent / name
