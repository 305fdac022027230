"""The manifest: what a gallery is, for people and for opening its index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_json

__all__ = ['NAME', 'OLDER', 'Manifest']

NAME = 'manifest.json'
OLDER = (1,)  # formats whose manifests are not read


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        format: Version of the gallery's layout.
        model: Fingerprint of the model that made the embeddings.
        preprocessing: How images were prepared for it.
        dim: Values in an embedding.
        metric: ``cosine``.
        factory: FAISS's string for the index.
        faiss: FAISS's version.
        index: File of the index, in the gallery's folder.
        sha256: Of that file.
        catalog: File of the names behind the ids, beside it.
        catalog_sha256: Of that file.
        change: Number of the last change that it holds.
        state: Random id of the database's state after that change.
        trained_for: Vectors that it was trained for.
        search_width: How widely it is searched: ``nprobe``, ``ef_search``, ``candidates``.
        recall: What was measured of it: recall@10 of ``all`` entries and of the ``newest`` tenth.
    """

    format: int
    model: str
    preprocessing: Mapping[str, Any]
    dim: int
    metric: str
    factory: str
    faiss: str
    index: str
    sha256: str
    catalog: str
    catalog_sha256: str
    change: int
    state: str
    trained_for: int
    search_width: Mapping[str, Any]
    recall: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write it, atomically."""
        write_json(folder / NAME, asdict(self), indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read it; None for one of an older format, whose index is made anew.

        Raises:
            InputError: If it is missing or damaged.
        """
        path = folder / NAME
        try:
            content = json.loads(path.read_bytes())
            if content['format'] in OLDER:
                return None
            manifest = cls(**content)
        except FileNotFoundError as error:
            raise InputError(f'{folder}: not a gallery, it has no {NAME}') from error
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f'{path}: damaged: {error}; repair makes it anew') from error
        for key, kind in cls.__annotations__.items():
            wanted = {'int': int, 'str': str}.get(kind, dict)
            if type(getattr(manifest, key)) is not wanted:
                raise InputError(
                    f'{path}: damaged: {key} is {getattr(manifest, key)!r:.40}; repair makes it anew'
                )
        for name in (manifest.index, manifest.catalog):
            if '/' in name or '\\' in name or name.startswith('.'):
                raise InputError(f'{path}: the index {name!r:.60} is not a file of the gallery')
        return manifest
