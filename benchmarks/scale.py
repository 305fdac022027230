"""One gallery of very many made-up entries: filling it, its index, opening, searches and changes.

The entries are never in memory all at once: people are made up anew, block by block. Each stage is a process of its
own, whose memory is the stage's.
"""

from __future__ import annotations

import hashlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from benchmarks.engines import K, measure, recall
from benchmarks.gallery import GalleryEngine
from benchmarks.gallery_costs import apart, bytes_on_disk, resident
from benchmarks.people import DIM, People, made_up
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.width import OWN_WIDTH

BLOCK = 50_000  # entries that are made up and added at once
_PROBES = 500
_CHANGES = 20  # of each kind, one after the other
_MB = 1e6


def measure_scale(
    count: int,
    folder: Path,
    rounds: int,
    bytes_per_vector: int | None = None,
    notice: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Fill a gallery, make its index, and use it.

    Args:
        count: Entries, a multiple of ``BLOCK``.
        folder: Of the gallery. It is kept: a run that was stopped goes on with the blocks that are there.
        rounds: Times that searches are timed.
        bytes_per_vector: Memory that the index may spend on a vector; None for what is best.
        notice: Told of every stage what it found.

    Returns:
        Stage -> figures: seconds of the processor (``cpu_s``), MB of memory without pages of files (``mb``), with
        them (``resident_mb``), at the most (``most_mb``); microseconds a query, recall@10, milliseconds a change.

    Raises:
        InputError: If ``count`` is no multiple, or the folder holds something else.
    """
    if count < 1 or count % BLOCK:
        raise InputError(f'--entries {count}: must be a multiple of {BLOCK}')
    found: dict[str, Any] = dict(entries=count)
    stages: dict[str, tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]] = {
        'fill': (_fill, (folder, count, bytes_per_vector)),
        'index': (_index, (folder,)),
        'open': (_open, (folder,)),
        'search': (_search, (folder, count, rounds)),
        'change': (_change, (folder, count)),
    }
    for name, (stage, what) in stages.items():
        found[name] = apart(stage, *what)
        notice(f'{name}: ' + ', '.join(f'{key} {_told(value)}' for key, value in found[name].items()))
    return found | dict(disk_gb=bytes_on_disk(folder) / 1e9)


def _fill(folder: Path, count: int, bytes_per_vector: int | None) -> dict[str, Any]:
    """Entries that were missing; making them up is not counted."""
    if not folder.exists():
        Gallery.create(folder, DIM, 'benchmark', bytes_per_vector=bytes_per_vector).close()
    cpu, there = 0.0, 0
    with Gallery(folder, index=False) as gallery:
        there = len(gallery)
        if there > count or there % BLOCK:
            raise InputError(f'{folder}: holds {there} entries; a run of {count} adds blocks of {BLOCK}')
        bar = tqdm(total=count, initial=there, unit='entry', unit_scale=True)
    return dict(added=count - there, cpu_s=cpu, **_memory())
