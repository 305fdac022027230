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

import numpy as np
from PIL import Image

from mbv1_backbone.classification.dog_boxes import DogBox, dog_boxes
from mbv1_backbone.classification.duplicates import check_no_links, same_bytes
from mbv1_backbone.common.errors import InputError, NotInstalledError, one_line
from mbv1_backbone.common.files import decode, shown
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.picture_sizes import picture_size

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

    Lists, annotations and the headers of photographs are checked before anything is written, and the folder
    appears when all of it is there. Boxes of an annotation that was made of a photograph in another size are
    scaled, as ImageNet's are meant to be; the stored pixels are taken where the annotation has their size and
    the EXIF orientation would exchange the sides.

    Args:
        root: Folder with ``Images/BREED/*.jpg`` and the lists ``train_list.mat`` and ``test_list.mat``, or
            ``.txt`` with a line ``BREED/FILE.jpg`` each, there or in ``lists/``.
        out_dir: Does not exist yet, or is empty.
        boxes: Write each dog's box (``Annotation/BREED/FILE``) in place of the whole photograph.
        link: Link to the photographs in place of copying them; not with boxes.

    Returns:
        How many ``classes``, ``train`` and ``test`` pictures there are.

    Raises:
        InputError: If a list, a photograph or an annotation is missing or wrong, or two places of the lists
            are one file.
        NotInstalledError: If a ``.mat`` file is to be read and SciPy is not installed.
    """
    root, out_dir = Path(root), Path(out_dir).resolve()  # a link to a folder is no place to move one to
    if boxes and link:
        raise InputError('boxes are cut out and written: they cannot be links')
    images = root / 'Images'
    if out_dir.is_relative_to(images.resolve()):
        raise InputError(f'{shown(out_dir)}: lies in {shown(images)}, among the photographs; give another')
    lists = {split: read_lists(root, split) for split in SPLITS}
    _check(lists, images)
    photos = {
        split: [(images / dog.place, dog.place.parts[0]) for dog in dogs] for split, dogs in lists.items()
    }
    check_no_links(photos)
    found = {split: [*_pictures(root, dogs, boxes)] for split, dogs in lists.items()}
    for split, pictures in found.items():
        _check_names(split, pictures)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    _log_pictures(root, [picture for pictures in found.values() for picture in pictures])
    if said := same_bytes(photos):
        _LOG.warning('%s: %s', shown(root), said)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f'.{out_dir.name}.') as draft:
        for split, pictures in found.items():
            for picture in pictures:
                _write(picture, Path(draft) / split, images, link)
        os.chmod(draft, 0o755)
        os.replace(draft, out_dir)
        os.mkdir(draft)  # for the context manager to remove
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
    owners: dict[int, str] = {}
    for name, label in seen.items():
        if owners.setdefault(label, name) != name:
            raise InputError(f'{shown(owners[label])} and {shown(name)} both have label {label}')
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
    box: DogBox | None = None


def _pictures(root: Path, dogs: Sequence[Dog], boxes: bool) -> Iterator[_Picture]:
    for dog in dogs:
        size = picture_size(root / 'Images' / dog.place)
        if not boxes:
            yield _Picture(dog.place, dog.place.name)
            continue
        found = dog_boxes(root / 'Annotation' / dog.place.with_suffix(''), size)
        for number, box in enumerate(found):
            suffix = f'_{number}' if len(found) > 1 else ''
            yield _Picture(dog.place, f'{dog.place.stem}{suffix}.jpg', box)


def _log_pictures(root: Path, pictures: Sequence[_Picture]) -> None:
    """A line of the log where boxes are not taken as they stand."""
    boxes = [(picture.place, picture.box) for picture in pictures if picture.box is not None]
    for what, places in (
        ('reach beyond their photographs, and are cut to them', [p for p, box in boxes if box.beyond]),
        ('are of photographs in another size, and are scaled', [p for p, box in boxes if box.scaled]),
    ):
        if places:
            _LOG.warning(
                f'%s: %d boxes {what}; the first is of %s', shown(root), len(places), shown(str(places[0]))
            )


def _write(picture: _Picture, folder: Path, images: Path, link: bool) -> None:
    """Write a picture."""
    source, target = images / picture.place, folder / picture.place.parts[0] / picture.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if picture.box is None and link:
        target.symlink_to(source.resolve())
    elif picture.box is None:
        shutil.copyfile(source, target)
    else:
        width, height = picture.box.size
        left, top, right, bottom = picture.box.sides
        image = read_image(source, (height, width))
        Image.fromarray(image[top:bottom, left:right]).save(target, quality=95)
