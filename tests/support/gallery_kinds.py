"""The kinds of galleries that one suite tests, and a Milvus server that a test starts, stops and kills."""

from __future__ import annotations

import atexit
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mbv1_backbone.retrieval import GalleryLike, create_gallery, open_gallery

NEEDS_MILVUS = pytest.mark.skipif(
    find_spec('pymilvus') is None or find_spec('milvus_lite') is None, reason='needs pymilvus and milvus-lite'
)
KINDS = ['folder', pytest.param('milvus', marks=NEEDS_MILVUS)]


# As ``milvus-lite server`` does, but that it takes any free port and says which; it ends with who started it.
_SERVER = """
import os, sys, threading
from milvus_lite.adapter.grpc.server import _build_server
from milvus_lite.db import MilvusLite

threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server = _build_server(MilvusLite(sys.argv[1]), max_workers=4)
print(server.add_insecure_port(f'127.0.0.1:{sys.argv[2]}'), flush=True)
server.start()
server.wait_for_termination()
"""


class MilvusLite:
    """``milvus-lite server`` on the loopback: a process of its own, whose data outlive it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start the server, at the same port as before, and wait until it listens."""
        assert self._process is None
        command = [sys.executable, '-c', _SERVER, str(self._folder), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, 'the server did not start'
        self.port = int(line)

    def kill(self) -> None:
        """End it without a chance to tidy up, as a power cut of its machine would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None

    def place(self, name: str) -> str:
        """Of a gallery on it."""
        return f'milvus://127.0.0.1:{self.port}/{name}'


@cache
def shared_server() -> MilvusLite:
    """One server for all tests of this process that leave it alone: it takes seconds to start."""
    folder = TemporaryDirectory(prefix='mbv1-milvus-')
    server = MilvusLite(Path(folder.name) / 'data')
    atexit.register(folder.cleanup)
    atexit.register(server.kill)
    return server


class Kind:
    """Galleries of one kind.

    Attributes:
        name: ``folder`` or ``milvus``.
    """

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self._root = root
        self._numbers = count()

    @classmethod
    def opened(cls, name: str, folder: Path) -> Iterator[Kind]:
        """A place for galleries of a kind, as long as it is needed."""
        if name == 'folder':
            yield cls(name, str(folder / 'g'))
            return
        yield cls(name, shared_server().place(f'g{token_hex(4)}_'))

    def place(self) -> str:
        """A place where no gallery is."""
        return f'{self._root}{next(self._numbers)}'

    def made(
        self, dim: int, model: str, preprocessing: Any = None, made_with: Any = None, place: str | None = None
    ) -> GalleryLike:
        """An empty gallery, at a new place or at a given one."""
        return create_gallery(place or self.place(), dim, model, preprocessing, made_with=made_with)

    def open(self, place: str, read_only: bool | None = None) -> GalleryLike:
        """The gallery at a place."""
        return open_gallery(place, read_only=read_only)
