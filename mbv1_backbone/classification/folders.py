"""Photographs in a folder a class: which there are, which train, and which are held out."""

from __future__ import annotations

import os
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mbv1_backbone.classification.duplicates import check_no_links
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.folders import ImageFiles, walk_images
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.prefetch import DECODERS, prefetch

__all__ = ['ClassFolder', 'Photo', 'check_name', 'read_class_folder', 'without_unreadable']

TEST_FOLDERS = ('test', 'val')
_TRAIN_LIKE, _TEST_LIKE = {'train', 'training'}, {'test', 'testing', 'val', 'valid', 'validation'}
_SHARE = 0.25  # that is held out
_SHOWN = 3  # names in a message


class Photo(NamedTuple):
    """A photograph and its label, the place of its class among the classes."""

    path: Path
    label: int


@dataclass(frozen=True)
class ClassFolder:
    """Photographs of classes, to train on and to test with.

    Attributes:
        root: The folder.
        classes: Names of the folders, sorted; a label is a place in them.
        train: To train on.
        test: To test with; not among those of ``train``.
        division: How the two were told apart, for people.
        skipped: Reason -> how many files were not looked at.
        ignored: Folders beside ``train`` that were not looked at.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Photo, ...]
    test: tuple[Photo, ...]
    division: str
    skipped: Counter[str]
    ignored: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[Photo, ...]]:
        """The photographs by what they are for."""
        return dict(train=self.train, test=self.test)

    def summary(self) -> str:
        """What there is, in one line.

        Example:
            >>> photos = (Photo(Path('a/1.jpg'), 0), Photo(Path('b/1.jpg'), 1))
            >>> folder = ClassFolder(Path('pets'), ('a', 'b'), photos, photos, 'train/ and test/', Counter())
            >>> folder.summary()
            'pets: 2 classes, 2 photographs to train on (1 to 1 a class), 2 to test (train/ and test/)'
        """
        counts = Counter(photo.label for photo in self.train).values()
        line = (
            f'{shown(self.root)}: {len(self.classes)} classes, {len(self.train)} photographs to train on '
            f'({min(counts)} to {max(counts)} a class), {len(self.test)} to test ({self.division})'
        )
        if self.ignored:
            line += f'; not looked at: {_named([f"{name}/" for name in self.ignored])}'
        return f'{line}; {ImageFiles((), self.skipped).summary()}' if self.skipped else line


def read_class_folder(
    root: str | os.PathLike[str], share: float | None = None, seed: int = 0, test: str | None = None
) -> ClassFolder:
    """Read ``ROOT/train/CLASS`` with ``ROOT/test/CLASS`` or ``ROOT/val/CLASS``, or else ``ROOT/CLASS``.

    Where there is no folder to test with, a share of each class is held out at random.

    Args:
        root: The folder.
        share: Of each class, held out where there is no folder to test with; between 0 and 1. A quarter
            where it is None.
        seed: Of that choice.
        test: Name of the folder to test with; by default ``test``, else ``val``.

    Raises:
        InputError: If there are fewer than two classes, a class has too few photographs or a name that no
            config can hold, the folder to test with has other classes than the one to train on, a share is
            given beside it, or a photograph is a link to another one.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f'{shown(root)}: no such folder')
    given = root / 'train'
    found_test = next((n for n in TEST_FOLDERS if (root / n).is_dir()), None)
    if found_test is not None and not given.is_dir():
        raise InputError(f'{shown(root)}: has {found_test}/ and no train/')
    classes, train, passed = _photos(given if given.is_dir() else root)
    if len(classes) < 2:
        raise InputError(
            f'{shown(root)}: {"one class, " + classes[0] if classes else "no classes"}; photographs must lie '
            'in CLASS/ or train/CLASS/, of two classes or more'
        )
    name = test or found_test
    if not given.is_dir():
        _check_no_parts(root, classes)
    if name is None:
        share = _SHARE if share is None else share
        check_no_links(dict(all=train))
        kept, held_out = _divide(classes, train, share, seed, root)
        division = f'{100 * share:g}% of each class, held out by seed {seed}'
        found = ClassFolder(root, classes, kept, held_out, division, passed)
    elif share is not None:
        raise InputError(f'{shown(root)}: has {name}/ to test with; no share of train/ is held out')
    else:
        others, held_out, more = _photos(root / name)
        _check_same(classes, others, root, name)
        check_no_links(dict(train=train, test=held_out))
        found = ClassFolder(root, classes, train, held_out, f'train/ and {name}/', passed + more)
    return replace(found, ignored=_beside(root, name)) if given.is_dir() else found


def _check_no_parts(root: Path, classes: Sequence[str]) -> None:
    """Refuse ``Train/`` and ``Test/`` where they would be two classes."""
    plain = {name.lower(): name for name in classes}
    train, test = _TRAIN_LIKE & set(plain), _TEST_LIKE & set(plain)
    if train and test:
        raise InputError(
            f'{shown(root)}: {plain[min(train)]}/ and {plain[min(test)]}/ would be classes; what is to train '
            'on must lie in train/, what is to test with in test/ or val/'
        )


def _beside(root: Path, test: str | None) -> tuple[str, ...]:
    """Folders that are neither to train on nor to test with."""
    names = (path.name for path in sorted(root.iterdir()) if path.is_dir())
    return tuple(name for name in names if name not in ('train', test) and not name.startswith('.'))


def without_unreadable(
    folder: ClassFolder, progress: Callable[[], object] | None = None
) -> tuple[ClassFolder, list[str]]:
    """Decode every photograph once, and leave out those that cannot be.

    Args:
        folder: Of ``read_class_folder``.
        progress: Called after each photograph.

    Returns:
        The folder without them, and a line each that says why.

    Raises:
        InputError: If a class has no photograph left to train on or to test with.
    """
    reasons: list[str] = []

    def kept(photos: Sequence[Photo]) -> tuple[Photo, ...]:
        found = []
        for photo, reason in zip(photos, prefetch(_reason, photos, DECODERS, 4 * DECODERS), strict=True):
            if reason is None:
                found.append(photo)
            else:
                reasons.append(reason)
            if progress is not None:
                progress()
        return tuple(found)

    left = replace(folder, train=kept(folder.train), test=kept(folder.test))
    for part, photos in (('to train on', left.train), ('to test with', left.test)):
        if missing := [c for i, c in enumerate(left.classes) if i not in {p.label for p in photos}]:
            raise InputError(
                f'{shown(folder.root)}: no readable photograph {part} of {_named(missing)}; the first that '
                f'cannot be read: {reasons[0]}'
            )
    return left, reasons


def _reason(photo: Photo) -> str | None:
    """Why a photograph cannot be read; None where it can."""
    try:
        read_image(photo.path)
    except InputError as error:
        return str(error)
    return None


def _photos(folder: Path) -> tuple[tuple[str, ...], tuple[Photo, ...], Counter[str]]:
    """Classes, photographs, and what was skipped; the folders below a class are the class's."""
    if not folder.is_dir():
        raise InputError(f'{shown(folder)}: no such folder')
    found = walk_images(folder)
    passed = Counter(found.skipped)
    by_class: dict[str, list[Path]] = defaultdict(list)
    for path in found:
        first, *rest = path.relative_to(folder).parts
        if rest:
            by_class[first].append(path)
        else:
            passed['that lie in no class'] += 1
    empty = [p.name for p in sorted(folder.iterdir()) if p.is_dir() and p.name not in by_class]
    if empty := [name for name in empty if not name.startswith('.')]:
        _check_no_class_is_a_link(folder, empty)
        raise InputError(f'{shown(folder)}: no image in {_named(empty)}; take empty folders away')
    classes = tuple(sorted(by_class))
    for name in classes:
        check_name(name, f'{shown(folder)}: class')
    photos = tuple(Photo(path, label) for label, name in enumerate(classes) for path in by_class[name])
    return classes, photos, passed


def _check_no_class_is_a_link(folder: Path, empty: Sequence[str]) -> None:
    """A folder that is linked to is read once, under its own name."""
    for name in empty:
        if (folder / name).is_symlink():
            target = os.path.realpath(folder / name)
            raise InputError(f'{shown(folder)}: {shown(name)} is a link to {shown(target)}; take it away')


def check_name(name: str, what: str) -> None:
    """Check that a config can hold a name, and a line of the terminal.

    Args:
        name: Of a class, or a path.
        what: It is, for the message.

    Raises:
        InputError: If it has control characters, or two braces, which mmengine puts values in place of.
    """
    if any(unicodedata.category(character) == 'Cc' for character in name):
        raise InputError(f'{what} {shown(name)}: has control characters, such as a line break, in its name')
    if '{{' in name:
        raise InputError(f'{what} {shown(name)}: has {{{{ in its name, which configs put values in place of')


def _divide(
    classes: Sequence[str], photos: Sequence[Photo], share: float, seed: int, root: Path
) -> tuple[tuple[Photo, ...], tuple[Photo, ...]]:
    """Hold out a share of each class, one photograph at least, and keep one at least."""
    if not 0 < share < 1:
        raise InputError(f'the share that is held out must lie between 0 and 1, got {share:g}')
    counts = Counter(photo.label for photo in photos)
    if alone := [name for label, name in enumerate(classes) if counts[label] < 2]:
        raise InputError(
            f'{shown(root)}: one image in {_named(alone)}; a class needs two, one of which is held out'
        )
    chance = random.Random(seed)
    held_out: set[Photo] = set()
    for label in range(len(classes)):
        mine = [photo for photo in photos if photo.label == label]
        held_out.update(chance.sample(mine, min(max(round(share * len(mine)), 1), len(mine) - 1)))
    return tuple(p for p in photos if p not in held_out), tuple(p for p in photos if p in held_out)


def _check_same(classes: Sequence[str], others: Sequence[str], root: Path, name: str) -> None:
    for mine, theirs, here, there in ((classes, others, name, 'train'), (others, classes, 'train', name)):
        if missing := sorted(set(mine) - set(theirs)):
            raise InputError(
                f'{shown(root)}: {_named(missing)} is in {there}/, not in {here}/; both need the same classes'
            )


def _named(names: Sequence[str]) -> str:
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(map(shown, names[:_SHOWN])) + more
