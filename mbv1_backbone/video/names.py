"""What a user may call a film or a camera, and what is said of it in messages and names of files."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ['FILMS', 'STDIN', 'camera_number', 'is_address', 'is_file', 'is_film', 'shown_source', 'stem_of']

FILMS = (
    *('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.mts', '.m2ts', '.wmv'),
    *('.flv', '.3gp', '.ogv', '.y4m', '.mjpeg', '.mjpg'),
)
STDIN = '-'
_SCHEMES = ('rtsp', 'rtsps', 'rtmp', 'http', 'https', 'udp', 'tcp', 'srt')


def is_film(name: str) -> bool:
    """Whether a source is a film, a camera, an address or standard input, and no image or folder of these.

    A folder or a file without a film's suffix is none, whatever it is called: ``7`` is a camera only where
    there is no such file.

    Example:
        >>> [is_film(name) for name in ('a.mp4', '0', '/dev/video0', 'rtsp://host/door', '-', 'a.jpg')]
        [True, True, True, True, True, False]
    """
    if name == STDIN or is_address(name) or Path(name).suffix.lower() in FILMS:
        return not Path(name).is_dir()
    return (camera_number(name) is not None and not Path(name).exists()) or name.startswith('/dev/video')


def is_file(name: str) -> bool:
    """Whether a source is a film's file, which has an end whether or not it says so."""
    return not is_address(name) and name.lower().endswith(FILMS)


def is_address(name: str) -> bool:
    """Whether a source is a URL that OpenCV may open."""
    return name.partition('://')[0].lower() in _SCHEMES and '://' in name


def camera_number(name: str) -> int | None:
    """The number of a camera: ``0``, or ``/dev/video0``; None of anything else."""
    found = re.fullmatch(r'(?:/dev/video)?([0-9]{1,4})', name, re.ASCII)
    return int(found[1]) if found else None


def shown_source(name: str) -> str:
    """A source in a message of one line; names and passwords of addresses are left out.

    Example:
        >>> shown_source('rtsp://admin:secret@10.0.0.7:554/door'), shown_source('0'), shown_source('-')
        ('rtsp://10.0.0.7:554/door', 'camera 0', 'standard input')
    """
    if name == STDIN:
        return 'standard input'
    if is_address(name):
        scheme, _, rest = name.partition('://')
        host, slash, path = rest.partition('/')
        text = f'{scheme}://{host.rpartition("@")[2]}{slash}{path.partition("?")[0]}'
    else:
        number = camera_number(name)
        text = f'film {name}' if number is None else f'camera {number}'
    return text if text.isprintable() else ascii(text)


def stem_of(name: str) -> str:
    """The name of the files that are written about a source, without a suffix.

    Example:
        >>> stem_of('films/door.mp4'), stem_of('0'), stem_of('rtsp://me:x@10.0.0.7/door/main'), stem_of('-')
        ('door', 'camera0', '10.0.0.7_door_main', 'stdin')
    """
    if name == STDIN:
        return 'stdin'
    if is_address(name):
        parts = urlsplit(shown_source(name))
        return re.sub(r'[^\w.-]+', '_', f'{parts.hostname or ""}{parts.path}'.strip('/'))[:80] or 'stream'
    number = camera_number(name)
    return Path(name).stem if number is None else f'camera{number}'
