"""Fetching released files into a cache folder, each held to its SHA-256."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from mbv1_backbone.common.errors import DamagedFileError, InputError, user_errors
from mbv1_backbone.common.files import write_atomically

__all__ = [
    'CACHE_VARIABLE',
    'MIRROR_VARIABLE',
    'Released',
    'cache_folder',
    'fetch',
    'record_sha256',
    'recorded_sha256',
    'sha256_of',
]

CACHE_VARIABLE = 'MBV1_CACHE'
MIRROR_VARIABLE = 'MBV1_MIRROR'
_CHUNK = 1 << 18  # bytes
_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Released:
    """A file that somebody released.

    Attributes:
        url: Where it lies.
        name: Its path in the cache and in a mirror.
        sha256: Its hash, 64 hexadecimal digits; None where it is not known.
        size: Its length in bytes; None where it is not known.
    """

    url: str
    name: str
    sha256: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        known = [f'{self.size} bytes'] if self.size is not None else []
        known += [f'SHA-256 {self.sha256}'] if self.sha256 is not None else []
        return self.name.rpartition('/')[2] + (f' ({", ".join(known)})' if known else '')


def cache_folder() -> Path:
    """Where fetched and exported files are kept.

    ``$MBV1_CACHE``, else ``mbv1_backbone`` in torch.hub's folder, which is found without importing torch.
    """
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder)
    caches = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    torch_home = os.environ.get('TORCH_HOME') or os.path.join(caches, 'torch')
    return Path(torch_home).expanduser() / 'hub' / 'mbv1_backbone'


def fetch(url: str, name: str, sha256: str | None = None, size: int | None = None) -> Path:
    """The file of a URL: from the cache, or downloaded into it with a progress bar.

    Nothing is in the cache under that name before it is whole and has its hash. That is written beside it,
    and checked at every later use. A download that broke off goes on where it was. ``$MBV1_MIRROR``, a URL or
    a folder laid out as the cache is, stands in for the source.

    Args:
        url: Where it lies.
        name: Its path in the cache.
        sha256: Its hash, where one is known; where none is, the first download's counts, which is said.
        size: Its length in bytes, where it is known.

    Returns:
        Its path in the cache.

    Raises:
        InputError: If it cannot be had, or is not the file that the hash was made of.
        DamagedFileError: If it has changed in the cache.
    """
    wanted = Released(url, name, sha256 and sha256.lower(), size)
    path = cache_folder() / name
    if path.is_file():
        _check_cached(path, wanted)
        return path
    with user_errors(f'cache folder {path.parent}'):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent):
        if not path.is_file():  # another process may just have fetched it
            _download(wanted, path)
    return path


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def recorded_sha256(path: Path) -> str | None:
    """The hash that is written beside a file of the cache; None where there is none."""
    record = path.with_name(f'{path.name}.sha256')
    return record.read_text().strip() if record.is_file() else None


def record_sha256(path: Path, sha256: str) -> None:
    """Write a file's hash beside its place in the cache."""
    with user_errors(f'cache folder {path.parent}'):
        write_atomically(path.with_name(f'{path.name}.sha256'), sha256.encode())


def _check_cached(path: Path, wanted: Released) -> None:
    """Hold a file of the cache to the hash that is known, and to the one written beside it."""
    found, recorded = sha256_of(path), recorded_sha256(path)
    for right in (wanted.sha256, recorded):
        if right is not None and right != found:
            raise DamagedFileError(f'{path} has SHA-256 {found} instead of {right}: remove it and try again')
    if recorded is None:  # put there by hand
        _record(path, found, wanted)


def _record(path: Path, found: str, wanted: Released) -> None:
    record_sha256(path, found)
    if wanted.sha256 is None:
        print(f'{wanted.name}: no SHA-256 is known of it; from now on it must be {found}', file=sys.stderr)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One download into a folder at a time; others wait for it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _download(wanted: Released, path: Path) -> None:
    """Download a file beside its place, check it, and put it there."""
    part = path.with_name(f'{path.name}.part')
    resumed = part.is_file() and wanted.sha256 is not None
    if not resumed:
        part.unlink(missing_ok=True)  # nothing could tell whether both halves are of one file
    if not resumed or sha256_of(part) != wanted.sha256:
        _transfer(wanted, part, path)
    if resumed and sha256_of(part) != wanted.sha256:
        part.unlink()
        _transfer(wanted, part, path)
    found, length = sha256_of(part), part.stat().st_size
    if wanted.sha256 not in (None, found) or wanted.size not in (None, length):
        part.unlink()
        raise InputError(
            f'{_address(wanted)}: {length} bytes with SHA-256 {found} instead of {wanted}; '
            'that is another file, and was not kept'
        )
    _record(path, found, wanted)
    with user_errors(f'cache folder {path.parent}'):
        os.replace(part, path)


def _transfer(wanted: Released, part: Path, path: Path) -> None:
    """Append what is missing of a file; what has come stays there for another try when it breaks off."""
    address = _address(wanted)
    try:
        source, begin, total = _open(address, part.stat().st_size if part.is_file() else 0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f'{address} cannot be downloaded ({_reason(error)}); '
            f'without a network, put the file at {path}: it is {wanted}'
        ) from error
    with source, open(part, 'ab' if begin else 'wb') as file:
        broken = _copy(source, file, path, wanted, (begin, total))
    length, size = part.stat().st_size, wanted.size if total is None else total
    if broken or (size is not None and length < size):
        of = f' of {size}' if size is not None else ''
        resume = '' if wanted.sha256 is None else '; the same again goes on from there'
        raise InputError(
            f'{address}: the connection broke after {length}{of} bytes{broken}{resume}; '
            f'without a network, put the file at {path}: it is {wanted}'
        )


def _copy(
    source: IO[bytes], file: IO[bytes], path: Path, wanted: Released, span: tuple[int, int | None]
) -> str:
    """Copy to the end, and say why where the source broke off, else nothing."""
    bar = tqdm(
        desc=wanted.name, initial=span[0], total=span[1], unit='B', unit_scale=True, disable=None, leave=False
    )
    with bar:
        while True:
            try:
                chunk = source.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return f' ({_reason(error)})'
            if not chunk:
                return ''
            with user_errors(f'cache folder {path.parent}'):
                file.write(chunk)
                file.flush()
            bar.update(len(chunk))


def _address(wanted: Released) -> str:
    """The source's URL, or the mirror's URL or path."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f'{mirror.rstrip("/")}/{wanted.name}' if mirror else wanted.url


def _open(address: str, begin: int) -> tuple[IO[bytes], int, int | None]:
    """A stream from byte ``begin`` on, or from 0 where the server cannot; where it begins, and the length."""
    if '://' not in address:
        file = open(address, 'rb')  # noqa: SIM115  (the caller closes it)
        length = os.fstat(file.fileno()).st_size
        begin = begin if begin <= length else 0
        file.seek(begin)
        return file, begin, length
    headers = {'User-Agent': 'mbv1_backbone', 'Accept-Encoding': 'identity'}
    try:
        response = urlopen(
            Request(address, headers=headers | ({'Range': f'bytes={begin}-'} if begin else {})),
            timeout=_TIMEOUT,
        )
    except HTTPError as error:
        if error.code != 416 or not begin:  # nothing lies behind what we have
            raise
        return _open(address, 0)
    length = response.headers.get('Content-Length')
    rest = int(length) if length is not None else None
    if response.status != 206:
        begin = 0
    return response, begin, None if rest is None else begin + rest


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    return str(getattr(error, 'reason', None) or error) or type(error).__name__
