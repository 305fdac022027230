"""Fetching released files into a cache folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.error import URLError

import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically

CACHE_VARIABLE = 'MBV1_CACHE'


def cache_folder() -> Path:
    """Where fetched files are kept: ``$MBV1_CACHE``, else ``mbv1_backbone`` in torch.hub's folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path(torch.hub.get_dir()) / 'mbv1_backbone')


def fetch(url: str, name: str, sha256: str | None = None) -> Path:
    """The file of a URL: from the cache, or downloaded into it with a progress bar.

    Its hash is written beside it, and checked at every later use.

    Args:
        url: Where it lies.
        name: Its name in the cache.
        sha256: Its hash, where one is known: checked at the first use too.

    Raises:
        InputError: If it cannot be had, or is not the file that the hash was made of.
    """
    path = cache_folder() / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=True)
        except (URLError, OSError) as error:
            raise InputError(
                f'{url} cannot be downloaded ({getattr(error, "reason", error)}); '
                f'without a network, put the file at {path}'
            ) from error
    found, record = hashlib.sha256(path.read_bytes()).hexdigest(), path.with_name(f'{name}.sha256')
    if not record.is_file():
        write_atomically(record, found.encode())
    for wanted in (sha256, record.read_text().strip()):
        if wanted is not None and wanted != found:
            raise InputError(
                f'{path} has SHA-256 {found} instead of {wanted}: remove both files and try again'
            )
    return path
