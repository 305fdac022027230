"""What all other engines have in common: their indexes are built once and kept.

A graph takes from seconds to half an hour; one whose building was stopped goes on from where it was saved.
"""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.engines import Engine, geometric
from mbv1_backbone.common.errors import NotInstalledError
from mbv1_backbone.common.files import write_json

CONSTRUCTION = 200  # candidates for the neighbours of a new entry
_WIDEST = 5000  # search of a graph
_PART = 10_000  # entries added at once
_SAVED_EVERY = 150.0  # seconds


class Rival(Engine):
    """An engine that numbers entries 0, 1, 2 ... in the order in which they are added.

    Args:
        dim: Values of an entry.
        count: Entries that it shall hold.
        construction: Candidates for the neighbours of a new entry of a graph.
    """

    package: str
    module: str
    kept = True  # on the disk, for the next run
    in_place = False  # whether it lives where it is kept

    def __init__(self, dim: int, count: int, construction: int = CONSTRUCTION) -> None:
        self.dim = dim
        self.count = count
        self.construction = construction

    @classmethod
    def check(cls) -> None:
        """Check that it is installed.

        Raises:
            NotInstalledError: If it is not.
        """
        try:
            import_module(cls.module)
        except ImportError as error:
            raise NotInstalledError(f'{cls.name} is left out: pip install {cls.package}') from error

    @property
    def ladders(self) -> Sequence[Sequence[Any]]:
        """Breadths of the search of a graph."""
        return [geometric(_WIDEST, 10)]

    @property
    def key(self) -> str:
        """What the kept graph depends on."""
        return f'{self.package}-{version(self.package)}-{self.construction}'

    @abstractmethod
    def start(self, path: Path) -> None:
        """Begin an empty index, at ``path`` if it lives on the disk."""

    def learn(self, vectors: np.ndarray) -> None:
        """See all vectors (N, D) before the first is added."""

    @abstractmethod
    def add(self, first: int, vectors: np.ndarray) -> None:
        """Add vectors (N, D), numbered from ``first``, with all threads."""

    def finish(self) -> None:
        """After the last of them."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Save the index."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Read it, to search or to add more."""

    def close(self) -> None:
        """Let go of it, so that another process may open it."""
        self.index: Any = None


def built(rival: Rival, vectors: np.ndarray, folder: Path) -> float:
    """Make a rival's index of vectors (N, D), or read it where it is kept; how many seconds it took.

    Args:
        rival: The engine, new.
        vectors: All that it shall hold.
        folder: Where it is kept, of these vectors alone.
    """
    folder = folder / rival.key
    state = folder / 'built.json'
    done, took = 0, 0.0
    if state.is_file():
        known = json.loads(state.read_text())
        done, took = known['entries'], known['seconds']
        rival.load(folder / known['file'])
    if done < len(vectors):
        if not done:
            rival.start(folder / 'index')
            start = time.perf_counter()
            rival.learn(vectors)
            took = time.perf_counter() - start
        took = _added(rival, vectors, folder, done, took)
    return took


def _added(rival: Rival, vectors: np.ndarray, folder: Path, done: int, took: float) -> float:
    """Add what is missing; seconds in all."""
    saved = time.monotonic()
    bar = tqdm(total=len(vectors), initial=done, unit='entry', unit_scale=True, desc=rival.name, leave=False)
    with bar:
        while done < len(vectors):
            start = time.perf_counter()
            part = vectors[done : done + _PART]
            rival.add(done, part)
            done += len(part)
            if done == len(vectors):
                bar.set_description(f'{rival.name}, the end')
                rival.finish()
            took += time.perf_counter() - start
            bar.update(len(part))
            if rival.kept and (done == len(vectors) or time.monotonic() - saved > _SAVED_EVERY):
                _keep(rival, folder, done, took)
                saved = time.monotonic()
    return took


def _keep(rival: Rival, folder: Path, done: int, took: float) -> None:
    """Save an index; the one before goes when the state names the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    name = 'index' if rival.in_place else f'index-{done}'
    rival.save(folder / name)
    write_json(folder / 'built.json', dict(entries=done, seconds=took, file=name))
    for other in folder.glob('index-*'):
        if other.name != name:
            other.unlink()
