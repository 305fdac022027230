"""Pre-trained weights of other projects by name: fetched, held to their hash, imported and cached."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mbv1_backbone.common.code import hash_of_code
from mbv1_backbone.common.resources import resource_folder
from mbv1_backbone.weights.cache import (
    Released,
    cache_folder,
    fetch,
    record_sha256,
    recorded_sha256,
    sha256_of,
)
from mbv1_backbone.weights.parts import content_of, is_tfjs

__all__ = ['External', 'external_models', 'fetch_external', 'import_external', 'import_local']

_ROOMS = ('common', 'compat', 'models', 'weights')  # what an import depends on


@dataclass(frozen=True)
class External:
    """A model of ``model_zoo/external.yml``.

    Attributes:
        name: ``PUBLISHER/NAME``.
        entry: What the file says, in the words of ``metafile.yml``, and ``Source``.
        files: To fetch; several follow each other in one network, or lie beside the first, which names them.
    """

    name: str
    entry: dict[str, Any]
    files: tuple[Released, ...]

    @property
    def source_url(self) -> str:
        """Where a person finds the file, or the document that names it."""
        return 'https://github.com/{Repository}/blob/{Commit}/{Path}'.format(**self.entry['Source'])

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> External:
        """A model, as the file describes it."""
        files = []
        for file in entry['Files']:
            source = entry['Source'] | file
            url = file.get('URL') or 'https://raw.githubusercontent.com/{Repository}/{Commit}/{Path}'.format(
                **source
            )
            base = url.partition('?')[0].rpartition('/')[2]
            files.append(Released(url, f'{entry["Name"]}/{base}', file['SHA-256'], file.get('Size')))
        return cls(entry['Name'], entry, tuple(files))


def external_models() -> dict[str, External]:
    """Other projects' models by name."""
    text = (resource_folder('model_zoo') / 'external.yml').read_text()
    return {entry['Name']: External.from_entry(entry) for entry in yaml.safe_load(text)['Models']}


def fetch_external(model: External) -> list[Path]:
    """The released files themselves, in the cache.

    Raises:
        InputError: If a file cannot be had, or is another than was released; see ``fetch``.
    """
    return [fetch(file.url, file.name, file.sha256, file.size) for file in model.files]


def import_external(model: External) -> Path:
    """The weights as ours, in the cache; fetched and imported where they are not there yet.

    Raises:
        InputError: If a file cannot be had, is another than was released, or cannot be read; see ``fetch``.
    """
    paths = fetch_external(model)
    return _imported(paths, [recorded_sha256(path) or '' for path in paths], model.name)


def import_local(path: Path) -> Path:
    """The weights of a file, and of those that lie beside it, as ours, in the cache; imported if not there.

    Raises:
        InputError: If a file is missing or cannot be read; see ``import_weights``.
    """
    return _imported([path], [content_of(path)], 'local')


def _imported(paths: list[Path], hashes: list[str], place: str) -> Path:
    from mbv1_backbone.weights.sources import import_weights
    from mbv1_backbone.weights.store import write_weights

    key = hashlib.sha256(' '.join([hash_of_code(_ROOMS), *hashes]).encode()).hexdigest()[:12]
    imported = cache_folder() / place / f'imported-{key}.safetensors'
    if not imported.is_file() or recorded_sha256(imported) != sha256_of(imported):
        parts = paths[:1] if is_tfjs(paths[0]) else paths  # whose shards lie beside it
        write_weights(import_weights(*parts), imported)
        record_sha256(imported, sha256_of(imported))
    return imported
