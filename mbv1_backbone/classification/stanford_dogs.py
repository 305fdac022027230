"""Stanford Dogs as folders of photographs, a breed each: http://vision.stanford.edu/aditya86/ImageNetDogs."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.common.files import decode, shown
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.tables import parse_number

__all__ = ['IMAGENET_INDICES', 'WHOLE', 'Dog', 'convert_stanford_dogs', 'read_lists']

_LOG = logging.getLogger('mbv1_backbone')
SPLITS = ('train', 'test')
WHOLE = dict(classes=120, train=12000, test=8580)
# The breeds among ImageNet's classes, in the order of the folders' names: all of its dogs but the dalmatian,
# and three wild ones.
IMAGENET_INDICES = (*(index for index in range(151, 269) if index != 251), 273, 274, 275)


class Dog(NamedTuple):
    """A photograph of a list: its place below ``Images``, ``BREED/FILE.jpg``, and its label, from 1."""

    place: PurePosixPath
    label: int | None


def convert_stanford_dogs(
    root: str | os.PathLike[str], out_dir: str | os.PathLike[str], boxes: bool = False, link: bool = False
) -> dict[str, int]:
    """Write ``train/BREED/`` and ``test/BREED/``, as the configs and ``mbv1 classify train`` read them.

    Everything is checked before anything is written, and the folder appears when all of it is there.

    Args:
        root: Folder with ``Images/BREED/*.jpg`` and the lists ``train_list.mat`` and ``test_list.mat``, or
            ``.txt`` with a line ``BREED/FILE.jpg`` each, there or in ``lists/``.
        out_dir: Does not exist yet, or is empty.
        boxes: Write each dog's box (``Annotation/BREED/FILE``) in place of the whole photograph.
        link: Link to the photographs in place of copying them; not with boxes.

    Returns:
        How many ``classes``, ``train`` and ``test`` pictures there are.

    Raises:
        InputError: If a list, a photograph or an annotation is missing or wrong.
        NotInstalledError: If a ``.mat`` file is to be read and SciPy is not installed.
    """
    root, out_dir = Path(root), Path(out_dir).resolve()  # a link to a folder is no place to move one to
    if boxes and link:
        raise InputError('boxes are cut out and written: they cannot be links')
    images = root / 'Images'
    lists = {split: read_lists(root, split) for split in SPLITS}
    _check(lists, images)
    found = {split: [*_pictures(root, dogs, boxes)] for split, dogs in lists.items()}
    for split, pictures in found.items():
        _check_names(split, pictures)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    cut: list[PurePosixPath] = []
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f'.{out_dir.name}.') as draft:
        for split, pictures in found.items():
            cut += [
                picture.place for picture in pictures if _write(picture, Path(draft) / split, images, link)
            ]
        os.chmod(draft, 0o755)
        os.replace(draft, out_dir)
        os.mkdir(draft)  # for the context manager to remove
    if cut:
        _LOG.warning(
            '%s: %d boxes reach beyond their photographs, and are cut to them; the first is of %s',
            *(shown(root), len(cut), shown(str(cut[0]))),
        )
    counts = {split: len(pictures) for split, pictures in found.items()}
    return dict(classes=len({dog.place.parts[0] for dog in lists['train']}), **counts)


def read_lists(root: Path, split: str) -> list[Dog]:
    """The photographs of ``train`` or ``test``, by ``SPLIT_list.mat`` or ``SPLIT_list.txt``.

    Args:
        root: Folder that has the list, or ``lists/`` with it.
        split: One of the two.

    Raises:
        InputError: If there is no list, it cannot be read, or it names something else than ``BREED/FILE``.
        NotInstalledError: If it is a ``.mat`` file and SciPy is not installed.
    """
    names = (f'{split}_list.mat', f'{split}_list.txt')
    path = next((p for f in (root, root / 'lists') for n in names if (p := f / n).is_file()), None)
    if path is None:
        raise InputError(f'{shown(root)}: has neither {names[0]} nor {names[1]}, there or in lists/')
    rows = _mat_rows(path) if path.suffix == '.mat' else _text_rows(path)
    dogs = [Dog(PurePosixPath(name), label) for name, label in rows]
    for dog in dogs:
        if len(dog.place.parts) != 2 or '..' in dog.place.parts or dog.place.is_absolute():
            raise InputError(f'{shown(path)}: names BREED/FILE.jpg, got {shown(str(dog.place))}')
    if not dogs:
        raise InputError(f'{shown(path)}: names no photograph')
    return dogs


def _mat_rows(path: Path) -> list[tuple[str, int | None]]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        message = f'{shown(path)}: MATLAB files need SciPy: pip install scipy'
        raise NotInstalledError(message) from error
    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # of a decoder: any kind
        raise InputError(f'{shown(path)}: not a readable MATLAB file: {one_line(error)}') from error
    if missing := [key for key in ('file_list', 'labels') if key not in content]:
        raise InputError(f'{shown(path)}: has no {missing[0]}')
    try:
        names = [str(cell.item()) for cell in np.ravel(content['file_list'])]
        labels = [_label(label) for label in np.ravel(content['labels'])]
    except (AttributeError, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f'{shown(path)}: file_list must be a cell array of names, labels whole numbers from 1'
        ) from error
    if len(names) != len(labels):
        raise InputError(f'{shown(path)}: {len(names)} files in file_list, but {len(labels)} labels')
    return [*zip(names, labels, strict=True)]


def _label(value: Any) -> int:
    if not value >= 1 or value != int(value):
        raise ValueError(f'{value} is no whole number from 1')
    return int(value)


def _text_rows(path: Path) -> list[tuple[str, int | None]]:
    try:
        lines = decode(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{shown(path)}: not a readable list: {one_line(error)}') from error
    return [(line.strip(), None) for line in lines if line.strip()]


def _check(lists: dict[str, list[Dog]], images: Path) -> None:
    """Breeds in both lists, no photograph twice, one label a breed in their order, and every file there."""
    train, test = ({dog.place.parts[0] for dog in lists[split]} for split in SPLITS)
    for mine, theirs, here, there in ((train, test, 'test', 'train'), (test, train, 'train', 'test')):
        if missing := sorted(mine - theirs):
            raise InputError(f'{shown(missing[0])} is in the {there} list, not in the {here} list')
    counts = Counter(dog.place for dogs in lists.values() for dog in dogs)
    place, count = counts.most_common(1)[0]
    if count > 1:
        raise InputError(f'{shown(str(place))} is named {count} times by the train and test lists')
    order = {name: number for number, name in enumerate(sorted(train), 1)}
    whole = len(order) == WHOLE['classes']
    seen: dict[str, int] = {}
    for dog in (dog for dogs in lists.values() for dog in dogs):
        name = dog.place.parts[0]
        if dog.label is None:
            continue
        if seen.setdefault(name, dog.label) != dog.label or (whole and dog.label != order[name]):
            raise InputError(
                f'{shown(str(dog.place))} has label {dog.label}; {shown(name)} has '
                f'{order[name] if whole else seen[name]}'
            )
    absent = [place for place in counts if not (images / place).is_file()]
    if absent:
        raise InputError(
            f'{shown(images)}: {len(absent)} of {len(counts)} photographs of the lists are not there, the '
            f'first {shown(str(absent[0]))}'
        )


def _check_names(split: str, pictures: Sequence[_Picture]) -> None:
    """Every picture has a name of its own: boxes of a.jpg and a.png, or of a.jpg and a_0.jpg, may not."""
    first: dict[tuple[str, str], PurePosixPath] = {}
    for picture in pictures:
        other = first.setdefault((picture.place.parts[0], picture.name), picture.place)
        if other != picture.place:
            raise InputError(
                f'{shown(str(other))} and {shown(str(picture.place))} would both be written as '
                f'{split}/{picture.place.parts[0]}/{shown(picture.name)}'
            )


class _Picture(NamedTuple):
    """A picture to write: of which photograph, under which name, and which box of it."""

    place: PurePosixPath
    name: str
    box: tuple[int, int, int, int] | None


def _pictures(root: Path, dogs: Sequence[Dog], boxes: bool) -> Iterator[_Picture]:
    for dog in dogs:
        if not boxes:
            yield _Picture(dog.place, dog.place.name, None)
            continue
        found = _boxes(root / 'Annotation' / dog.place.with_suffix(''))
        for number, box in enumerate(found):
            suffix = f'_{number}' if len(found) > 1 else ''
            yield _Picture(dog.place, f'{dog.place.stem}{suffix}.jpg', box)


def _boxes(path: Path) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each dog, in pixels."""
    path = path if path.is_file() else path.with_suffix('.xml')
    if not path.is_file():
        raise InputError(f'{shown(path.with_suffix(""))}: no such annotation')
    try:
        tree = ElementTree.parse(path)
        found = [
            tuple(int(parse_number(box.findtext(side, ''))) for side in ('xmin', 'ymin', 'xmax', 'ymax'))
            for box in tree.iterfind('object/bndbox')
        ]
    except (ElementTree.ParseError, ValueError, OverflowError, OSError) as error:
        raise InputError(f'{shown(path)}: not a readable annotation: {one_line(error)}') from error
    if not found:
        raise InputError(f'{shown(path)}: has no object with a box')
    boxes = []
    for left, top, right, bottom in found:
        if not (0 <= left < right and 0 <= top < bottom):
            raise InputError(f'{shown(path)}: box {left}, {top}, {right}, {bottom} is empty or negative')
        boxes.append((left, top, right, bottom))
    return boxes


def _write(picture: _Picture, folder: Path, images: Path, link: bool) -> bool:
    """Write a picture; whether its box had to be cut to the photograph."""
    source, target = images / picture.place, folder / picture.place.parts[0] / picture.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if picture.box is None and link:
        target.symlink_to(source.resolve())
    elif picture.box is None:
        shutil.copyfile(source, target)
    else:
        image = read_image(source)
        left, top, right, bottom = picture.box
        if left >= image.shape[1] or top >= image.shape[0]:
            raise InputError(
                f'{shown(source)}: a box lies outside of its {image.shape[1]} x {image.shape[0]}'
            )
        Image.fromarray(image[top:bottom, left:right]).save(target, quality=95)
        return right > image.shape[1] or bottom > image.shape[0]
    return False
