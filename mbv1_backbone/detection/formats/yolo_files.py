"""Where a data set in YOLO's format keeps its pictures, labels and class names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.common.folders import SUFFIXES, walk_images
from mbv1_backbone.common.names import listed
from mbv1_backbone.common.tables import parse_number
from mbv1_backbone.detection.formats.classes import check_classes
from mbv1_backbone.detection.formats.splits import by_role

__all__ = [
    'YAML',
    'YoloFiles',
    'find_yolo',
    'has_yolo_labels',
    'label_file',
    'label_places',
    'labels_alone',
    'yolo_yaml',
]

YAML = ('.yaml', '.yml')
_PARTS = ('train', 'val', 'test')
_NAMES = ('classes.txt', 'obj.names', 'labels/classes.txt', 'labels.txt')


@dataclass
class YoloFiles:
    """The files of a data set.

    Attributes:
        classes: Names by number.
        pictures: Files by ``train``, ``val``, ``test``, or ``all`` of them.
        keypoints: Whether lines have key points after the box.
        notes: What was decided here, a line each.
    """

    classes: tuple[str, ...]
    pictures: dict[str, list[Path]]
    keypoints: bool = False
    notes: list[str] = field(default_factory=list)


def find_yolo(path: Path) -> YoloFiles:
    """Find the files of a data set.

    Args:
        path: Its ``data.yaml`` with ``names`` and ``train``, ``val`` and ``test`` (a folder, a list in a
            ``.txt``, or several), as https://docs.ultralytics.com/datasets/detect/ has it; or a folder with
            ``images`` and ``labels``, divided or not, and ``classes.txt``.

    Raises:
        InputError: If something that it names is missing, it names no classes, or a part is empty.
    """
    if path.is_dir():
        return _of_folder(path)
    found = _read_yaml(path)
    if 'names' not in found:
        raise InputError(f"{path}: has no 'names', the classes' names by number")
    classes = _classes_of(found, path)
    named = {part: found[part] for part in _PARTS if found.get(part)}
    if 'val' not in named and found.get('valid'):
        named['val'] = found['valid']
    if not named:
        raise InputError(f'{path}: names no pictures with train, val or test')
    root, notes = _root_of(found, named, path)
    pictures = {part: _pictures_of(value, root, path, part) for part, value in named.items()}
    return YoloFiles(classes, pictures, bool(found.get('kpt_shape')), notes)


def label_places(picture: Path) -> list[Path]:
    """Where the labels of a picture may be: in ``labels`` beside ``images``, or beside it."""
    parts = picture.parts
    places = [place for place, part in enumerate(parts[:-1]) if part == 'images']
    beside = [Path(*parts[:p], 'labels', *parts[p + 1 :]) for p in places[::-1]]
    return [path.with_suffix('.txt') for path in (*beside, picture)]


def label_file(picture: Path) -> Path | None:
    """The labels of a picture; None where it has none."""
    return next((path for path in label_places(picture) if path.is_file()), None)


def labels_alone(pictures: Iterable[Path]) -> list[Path]:
    """Label files with boxes, sorted, beside those of pictures, where there is no picture of that name."""
    places = {picture.parent: [path.parent for path in label_places(picture)] for picture in pictures}
    named = {
        place / path.stem
        for folder, labels in places.items()
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        for place in labels
    }
    found = {file for labels in places.values() for place in labels for file in place.glob('*.txt')}
    return sorted(file for file in found if file.with_suffix('') not in named and _has_box(file))


def _has_box(path: Path) -> bool:
    """Whether a file's first line is like a box: classes' names, lists and read-me files are none."""
    try:
        words = next(iter(decode(path.read_bytes()).split('\n')), '').split()
        return len(words) > 4 and all(math.isfinite(parse_number(word)) for word in words)
    except (OSError, ValueError):  # UnicodeDecodeError is one
        return False


def yolo_yaml(folder: Path) -> list[Path]:
    """The files of a folder that are like a ``data.yaml``: with classes' names and pictures."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in YAML and path.is_file():
            try:
                value = yaml.safe_load(path.read_bytes())
            except (yaml.YAMLError, ValueError, OSError):  # ValueError: a date that there is not
                continue
            if isinstance(value, dict) and any(part in value for part in ('train', 'val')):
                found.append(path)
    return found


def has_yolo_labels(folder: Path) -> bool:
    """Whether a folder, or one of its parts, has ``labels`` of YOLO, or labels beside pictures."""
    parts = [folder, *(p for p in sorted(folder.iterdir()) if p.is_dir())]
    for part in parts:
        labels = part / 'labels'
        if labels.is_dir() and any(_is_label(path) for path in labels.rglob('*.txt')):
            return True
    beside = (path.with_suffix('.txt') for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return any(path.is_file() for path in beside)


def _is_label(path: Path) -> bool:
    return path.name != 'classes.txt'


def _read_yaml(path: Path) -> dict[str, Any]:
    """What it says, with the names as they are written: ``no`` is not False there, nor 1.10 a number."""
    try:
        text = decode(path.read_bytes())
        found, written = yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f'{path}: not YAML: {error}') from error
    if not isinstance(found, dict):
        raise InputError(f'{path}: must have names and train, got {str(found)[:50]!r}')
    return found | ({'names': written['names']} if 'names' in found else {})


def _classes_of(found: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = found['names']
    if isinstance(names, dict):
        numbers = [*map(str, range(len(names)))]
        if set(names) != set(numbers):
            raise InputError(f'{path}: names must be numbered 0..{len(names) - 1}, got {listed([*names])}')
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise InputError(f'{path}: names must be a list of the classes, or numbers with names, got {names!r}')
    classes = check_classes(names, f'{path}: names')
    if (count := found.get('nc')) is not None and count != len(classes):
        raise InputError(f'{path}: nc is {count}, but there are {len(classes)} names: {listed(classes)}')
    return classes


def _root_of(found: dict[str, Any], named: dict[str, Any], file: Path) -> tuple[Path, list[str]]:
    """The folder that the pictures' folders are named from."""
    here = file.parent
    if not (stated := found.get('path')):
        return here, []
    first = next(iter(named.values()))
    first = first[0] if isinstance(first, list) and first else first
    stated_root = here / str(stated)
    if not (stated_root / str(first)).exists() and (here / str(first)).exists():
        return here, [f'path {stated} of {file.name} is not there: taken as its folder']
    return stated_root, []


def _pictures_of(value: Any, root: Path, file: Path, part: str) -> list[Path]:
    """The pictures that an entry names."""
    pictures: list[Path] = []
    for one in value if isinstance(value, list) else [value]:
        name = str(one)
        if not (root / name).exists():
            name = name.replace('\\', '/')
        place = root / name
        if not place.exists() and name.startswith('../'):  # Roboflow's, wrong in its own archives
            place = root / name[3:]
        if place.is_dir():
            pictures += walk_images(place)
        elif place.is_file():
            pictures += _of_list(place, root)
        else:
            raise InputError(f'{file}: {part}: {root / str(one)} does not exist')
    if not pictures:
        raise InputError(f'{file}: {part}: no picture in {value}')
    return list(dict.fromkeys(pictures))


def _of_list(path: Path, root: Path) -> list[Path]:
    """The pictures of a list, a line each."""
    try:
        lines = [line.strip() for line in decode(path.read_bytes()).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'image list {path}: {error}') from error
    found = []
    for line in lines:
        names = dict.fromkeys((line, line.replace('\\', '/')))
        there = [base / name for name in names for base in (path.parent, root) if (base / name).is_file()]
        if not there:
            raise InputError(f'image list {path}: {line} is neither below {path.parent} nor below {root}')
        found.append(there[0])
    return found


def _of_folder(folder: Path) -> YoloFiles:
    """A folder without ``data.yaml``: ``images/train``, ``train/images``, or all in one."""
    images = folder / 'images'
    parts = by_role(_names_of_folders(images), str(images)) if images.is_dir() else {}
    places = {role: images / name for role, name in parts.items()}
    if not places:
        parts = by_role(
            (n for n in _names_of_folders(folder) if (folder / n / 'images').is_dir()), str(folder)
        )
        places = {role: folder / name / 'images' for role, name in parts.items()}
    if not places:
        places = dict(all=images if images.is_dir() else folder)
    pictures = {role: list(walk_images(place)) for role, place in places.items()}
    for role, found in pictures.items():
        if not found:
            raise InputError(f'{places[role]}: no picture to {"train on" if role == "train" else "look at"}')
    return YoloFiles(_named_classes(folder), pictures)


def _names_of_folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _named_classes(folder: Path) -> tuple[str, ...]:
    for name in _NAMES:
        if (folder / name).is_file():
            return _classes_of_list(folder / name)
    raise InputError(
        f'{folder}: labels of YOLO, and nothing that names the classes: add data.yaml with names, or '
        'classes.txt with a name a line'
    )


def _classes_of_list(path: Path) -> tuple[str, ...]:
    """A name a line, numbered by the lines: none may be left out in between."""
    try:
        names = [line.strip() for line in decode(path.read_bytes()).rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: {error}') from error
    if '' in names:
        raise InputError(f'{path}: line {names.index("") + 1} is empty: which class has its number?')
    return check_classes(names, str(path))
