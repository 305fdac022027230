"""Keys of a service's clients: a file of their hashes, each with what it may do."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mbv1_backbone.common.choices import KEY_SCOPES
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import atomic_file

__all__ = ['Key', 'KeyFile', 'add_key', 'read_keys', 'remove_key']

_NAME = re.compile(r'[\w.@-]{1,64}')
_BYTES = 32  # of chance in a key, so that its plain hash tells nothing of it
_PREFIX = 'mbv1_'


@dataclass(frozen=True)
class Key:
    """A client's key, as the file has it.

    Attributes:
        name: Of the client.
        scope: ``read``, ``write`` (and read) or ``admin`` (and both).
        sha256: Of the key, which is not kept.
        made: Seconds since 1970.
    """

    name: str
    scope: str
    sha256: str
    made: float

    def may(self, scope: str) -> bool:
        """Whether it may do what asks for a scope."""
        return KEY_SCOPES.index(self.scope) >= KEY_SCOPES.index(scope)


def add_key(path: str | os.PathLike[str], name: str, scope: str) -> str:
    """Make a key, and note its hash in a file, which only its owner can read.

    Args:
        path: Of the file; made where it is not there.
        name: Of the client.
        scope: One of ``KEY_SCOPES``.

    Returns:
        The key, which cannot be had again.

    Raises:
        InputError: If the name is taken or none, the scope is unknown, or the file is not one of keys.
    """
    if scope not in KEY_SCOPES:
        raise InputError(f'scope must be one of {", ".join(KEY_SCOPES)}, got {scope!r:.60}')
    if not _NAME.fullmatch(name):
        raise InputError(f'name must be 1 to 64 letters, digits or ._@-, got {name!r:.80}')
    keys = read_keys(path) if Path(path).exists() else []
    if any(key.name == name for key in keys):
        raise InputError(f'{path}: there is a key of {name} already; remove it first')
    made = _PREFIX + secrets.token_urlsafe(_BYTES)
    _write(path, [*keys, Key(name, scope, _hash(made), round(time.time()))])
    return made


def remove_key(path: str | os.PathLike[str], name: str) -> None:
    """Take a client's key out of the file: running services refuse it from then on.

    Raises:
        InputError: If there is none of that name.
    """
    keys = read_keys(path)
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        raise InputError(f'{path}: there is no key of {name!r:.80}')
    _write(path, left)


def read_keys(path: str | os.PathLike[str]) -> list[Key]:
    """The keys of a file.

    Raises:
        InputError: If it cannot be read, or is not one of keys.
    """
    try:
        keys = [Key(**one) for one in json.loads(Path(path).read_bytes())['keys']]
        for key in keys:
            if key.scope not in KEY_SCOPES or not re.fullmatch('[0-9a-f]{64}', key.sha256):
                raise ValueError
    except OSError as error:
        raise InputError(f'{path}: {error.strerror or error}') from error
    except (ValueError, TypeError, KeyError):
        raise InputError(f'{path}: not a file of mbv1 serve-keys') from None
    return keys


class KeyFile:
    """The keys of a file, read again whenever it has changed.

    Args:
        path: Of the file.

    Raises:
        InputError: If it is not one of keys, or has none: then nobody could ask anything.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._keys: list[Key] = []
        if not self._current():
            raise InputError(f'{path}: no keys; mbv1 serve-keys add NAME --keys {path} makes one')

    def find(self, given: str) -> Key | None:
        """The key that was given, where the file has it; all are compared, in constant time.

        Raises:
            InputError: If the file cannot be read any more.
        """
        wanted, found = _hash(given), None
        for key in self._current():
            if hmac.compare_digest(key.sha256, wanted):
                found = key
        return found

    def _current(self) -> list[Key]:
        with self._lock:
            try:
                about = os.stat(self.path)
            except OSError as error:
                raise InputError(f'{self.path}: {error.strerror or error}') from error
            state = (about.st_mtime_ns, about.st_size, about.st_ino)
            if state != self._state:
                self._keys = read_keys(self.path)
                self._state = state
            return self._keys


def _write(path: str | os.PathLike[str], keys: Sequence[Key]) -> None:
    try:
        with atomic_file(path, mode=0o600) as file:
            file.write(json.dumps(dict(keys=[asdict(key) for key in keys]), indent=1).encode() + b'\n')
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()
