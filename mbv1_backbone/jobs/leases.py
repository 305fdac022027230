"""Who works on what: files in a folder that all workers share, each held by one worker at a time.

A lease saves work that would be done twice; it protects nothing, since two workers may hold one for a moment.
What is written under it must take its place whole, whoever writes it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

__all__ = ['TIMEOUT', 'Lease', 'Leases']

TIMEOUT = 300.0  # seconds; NFS shows the time of another machine's file up to 60 s late
_BEATS = 5  # in a time-out


@dataclass(frozen=True)
class Lease:
    """A name that this process holds.

    Attributes:
        path: Of its file.
        content: Of the file, by which the holder knows it.
    """

    path: Path
    content: str


class Leases:
    """The leases of a folder, as one worker sees them.

    A holder that has died on this machine is known at once; one on another machine by its file, whose time
    has not changed for so long by this machine's clock. No two machines' clocks are compared.

    Args:
        folder: For the files; it is made.
        timeout: Seconds after which a lease whose holder shows no life may be taken over.
    """

    def __init__(self, folder: str | os.PathLike[str], timeout: float = TIMEOUT) -> None:
        self.folder = Path(folder)
        self.timeout = timeout
        self._seen: dict[str, tuple[tuple[str, int], float]] = {}  # state, and since when it is that
        self.folder.mkdir(parents=True, exist_ok=True)

    def claim(self, name: str) -> Lease | None:
        """Take a name that nobody holds, or whose holder is dead; None where somebody works on it."""
        path = self.folder / name
        about = dict(token=token_hex(8), machine=_machine(), pid=os.getpid(), began=_began(os.getpid()))
        lease = Lease(path, json.dumps(about))
        if self._is_abandoned(path):
            self._discard(path)
        try:
            with open(path, 'x') as file:
                file.write(lease.content)
        except FileExistsError:
            return None
        except OSError:  # a full disk: what nobody holds must not look as if somebody did
            path.unlink(missing_ok=True)
            raise
        return lease

    @contextmanager
    def held(self, lease: Lease) -> Iterator[None]:
        """Show life while work is done, and give the name back at its end, however that comes."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self.timeout / _BEATS):
                with suppress(OSError):  # of a network's disk; the next beat may find it well
                    if _read(lease.path) == lease.content:
                        os.utime(lease.path)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            if _read(lease.path) == lease.content:
                lease.path.unlink(missing_ok=True)

    def _is_abandoned(self, path: Path) -> bool:
        content = _read(path)
        if content is None:
            self._seen.pop(path.name, None)
            return False
        with suppress(ValueError, KeyError, TypeError):
            holder = json.loads(content)
            if (
                holder['machine']
                and holder['machine'] == _machine()
                and _began(holder['pid']) != holder['began']
            ):
                return True
        try:
            state = (content, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return False
        now = time.monotonic()
        former, since = self._seen.get(path.name, (None, now))
        if former != state:
            self._seen[path.name] = (state, now)
            return False
        return now - since > self.timeout

    def _discard(self, path: Path) -> None:
        """Remove an abandoned lease; of several who do so at once, one moves it."""
        aside = path.with_name(f'.{path.name}.{token_hex(8)}')
        with suppress(FileNotFoundError):
            os.rename(path, aside)
            aside.unlink(missing_ok=True)
        self._seen.pop(path.name, None)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _machine() -> str:
    """This boot of the machine and this container's processes; empty where nothing says so."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return ''


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None of one that has ended."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] in 'ZX' else fields[19]
