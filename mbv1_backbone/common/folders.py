"""Which image files there are: one walk through folders for every command, and what it skips."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown

__all__ = ['SUFFIXES', 'ImageFiles', 'find_images', 'walk_images']

_LOG = logging.getLogger('mbv1_backbone')
SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif'),
    *('.ppm', '.pgm', '.pbm', '.pnm'),
)
# Pictures that are not read: named by their kind among what is skipped.
_OTHER_PICTURES = (
    *(
        '.heic',
        '.heif',
        '.avif',
        '.jxl',
        '.jp2',
        '.svg',
        '.psd',
        '.tga',
        '.ico',
        '.exr',
        '.hdr',
        '.pdf',
        '.eps',
    ),
    *('.raw', '.dng', '.cr2', '.cr3', '.nef', '.arw', '.orf', '.rw2', '.raf', '.mp4', '.mov'),
)


class ImageFiles(list[Path]):
    """Image files, and what was skipped beside them.

    Attributes:
        skipped: Reason -> how many.
    """

    def __init__(self, paths: Iterable[Path] = (), skipped: Counter[str] | None = None) -> None:
        super().__init__(paths)
        self.skipped: Counter[str] = skipped or Counter()

    def log(self, subject: str) -> None:
        """One line of the log, where something was skipped; without logging set up it goes to stderr."""
        if self.skipped:
            _LOG.warning('%s: %s', subject, self.summary())

    def summary(self) -> str:
        """One line that says what was skipped, empty where nothing was.

        Example:
            >>> ImageFiles([], Counter({'.heic': 2, 'hidden': 1})).summary()
            'skipped: 2 .heic, 1 hidden'
        """
        counts = ', '.join(f'{count} {reason}' for reason, count in self.skipped.most_common())
        return f'skipped: {counts}' if counts else ''


def find_images(patterns: Iterable[str | os.PathLike[str]]) -> ImageFiles:
    """The image files that paths, folders (searched through) and globs name, sorted within each.

    A file that is named itself is taken whatever its name ends in. Of folders and globs, files of other kinds
    are skipped, and one line of the log says how many for which reason.

    Raises:
        InputError: If a pattern names nothing that can be read.
    """
    found = ImageFiles()
    patterns = list(patterns)
    for name in patterns:
        pattern, path = os.fspath(name), Path(name)
        if path.is_dir():
            mine = walk_images(path)
        elif has_magic(pattern) and not path.exists():
            mine = _of_glob(pattern)
        else:
            mine = ImageFiles([path] if path.exists() else [])
        if not mine:
            why = f' ({mine.summary()})' if mine.skipped else ''
            raise InputError(
                f'no image at {shown(pattern)}: give files, folders or globs of {", ".join(SUFFIXES)}{why}'
            )
        found += mine
        found.skipped += mine.skipped
    found = ImageFiles(dict.fromkeys(found), found.skipped)
    found.log(', '.join(shown(name) for name in patterns))
    return found


def walk_images(folder: str | os.PathLike[str]) -> ImageFiles:
    """The image files of a folder and of all folders in it, sorted.

    Links are followed, each folder once. Hidden files and folders (``.thumbnails``, ``._photo.jpg``) are
    skipped, as are names that are no valid text, files that are no images by their suffix, and what is
    no regular file.
    """
    passed: Counter[str] = Counter()
    paths: list[Path] = []
    for place, names in _folders(folder, passed):
        paths += [place / name for name in names if _is_image(place / name, passed)]
    return ImageFiles(sorted(paths), passed)


def _folders(folder: str | os.PathLike[str], passed: Counter[str]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder that is not hidden, once, with the names of what is in it but folders.

    Links to folders come last, in the order of their names: a folder bears its own name where it is reached
    by it, whatever order the file system lists names in.
    """
    seen: set[str] = set()
    pending = [os.fspath(folder)]

    def unreadable(error: OSError) -> None:
        passed['folders that cannot be read'] += 1

    for root in pending:  # grows by the links that are found
        for place, folders, names in os.walk(root, onerror=unreadable):
            real = os.path.realpath(place)
            if real in seen:
                passed['folders linked twice'] += 1
                folders.clear()
                continue
            seen.add(real)
            hidden = {name: reason for name in folders if (reason := _reason_of_name(name))}
            passed.update(hidden.values())
            folders[:] = sorted(name for name in folders if name not in hidden)
            pending += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
            yield Path(place), names


def _is_image(path: Path, passed: Counter[str]) -> bool:
    """Whether to read a file; what it is skipped for is counted."""
    suffix = path.suffix.lower()
    reason = _reason_of_name(path.name)
    if reason is None and suffix in _OTHER_PICTURES:
        reason = suffix
    elif reason is None and suffix not in SUFFIXES:
        reason = 'files of other kinds'
    elif reason is None and not path.is_file():
        reason = 'broken links' if path.is_symlink() and not path.exists() else 'not regular files'
    if reason is not None:
        passed[reason] += 1
    return reason is None


def _reason_of_name(name: str) -> str | None:
    if name.startswith('.'):
        return 'hidden'
    try:
        name.encode()
    except UnicodeEncodeError:
        return 'names that are no valid text'
    return None


def _of_glob(pattern: str) -> ImageFiles:
    """What a glob names: files by their suffix, folders searched through."""
    passed: Counter[str] = Counter()
    paths: list[Path] = []
    for path in map(Path, sorted(glob(pattern, recursive=True))):
        if path.is_dir():
            inside = ImageFiles() if '**' in pattern else walk_images(path)
            paths += inside
            passed += inside.skipped
        elif _is_image(path, passed):
            paths.append(path)
    return ImageFiles(dict.fromkeys(paths), passed)
