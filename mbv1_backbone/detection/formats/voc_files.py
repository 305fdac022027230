"""Where a PASCAL VOC data set keeps its files: as VOC does, or as labelling tools leave them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.common.images import SUFFIXES
from mbv1_backbone.common.names import listed

__all__ = ['VocFiles', 'choose_picture', 'divide', 'find_voc', 'has_voc']

_XML_FOLDERS = ('annotations', 'annotation', 'xml', 'xmls', 'labels')
_IMAGE_FOLDERS = ('jpegimages', 'images', 'image', 'imgs', 'img', 'photos')
_PARTS = {2: ('train', 'val'), 3: ('train', 'val', 'test')}  # what the shares of a split are called
_BY_ITSELF = (0.8, 0.2)


@dataclass
class VocFiles:
    """The files of a data set.

    Attributes:
        annotations: XML file by key: the name, behind its split's folder where every split has one.
        pictures: Files that may be a key's picture, by key.
        folders: Folder of the pictures, by key.
        splits: Keys by split.
        notes: What was decided here, a line each.
    """

    annotations: dict[str, Path] = field(default_factory=dict)
    pictures: dict[str, list[Path]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def has_voc(root: Path) -> bool:
    """Whether there are annotations of VOC in a folder, or in one for every split."""
    return bool(_split_folders(root, None)) or _xml_folder(root) is not None


def find_voc(
    root: Path,
    splits: Sequence[str] | None,
    shares: Sequence[float] | None,
    seed: int = 0,
    whole: bool = False,
) -> VocFiles:
    """Find annotations and pictures, and divide them.

    Args:
        root: Holds ``Annotations`` and ``JPEGImages``, or ``annotations`` and ``images``, or both kinds of
            file side by side; or a folder of these for every split.
        splits: Lists of ``ImageSets/Main``, or folders; by default those that there are.
        shares: Divide at random instead, into ``train`` and ``val``, or ``train``, ``val`` and ``test``.
        seed: Of the division.
        whole: Leave what has no lists in one piece, ``all``.

    Raises:
        InputError: If nothing is found, a list names nothing, or the shares do not add up to 1.
    """
    if not root.is_dir():
        raise InputError(f'{root}: no such folder')
    if shares is None and (folders := _split_folders(root, splits)):
        files = VocFiles()
        for split, folder in folders.items():
            names = _add(files, folder, f'{split}/')
            files.splits[split] = names
        return files
    if shares is not None and splits:
        raise InputError('--split divides at random, --splits names lists: give one of them')
    files = VocFiles()
    names = _add(files, root, '')
    lists = root / 'ImageSets' / 'Main'
    splits = splits or (None if shares else _usual_lists(lists))
    if whole and shares is None and splits is None:
        files.splits = dict(all=names)
    elif shares is not None or splits is None:
        if shares is None:
            files.notes.append(f'no lists in {lists}: divided .8 to .2, seed {seed}')
        files.splits = divide(names, shares or _BY_ITSELF, seed)
    else:
        files.splits = {split: _read_list(lists / f'{split}.txt', files.annotations) for split in splits}
    return files


def divide(names: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Divide names at random into ``train`` and ``val``, or ``train``, ``val`` and ``test``.

    Args:
        names: Of the images; their order does not matter.
        shares: Of each part, 0..1, two or three of them.
        seed: Of the division.

    Raises:
        InputError: If there are not two or three positive shares that add up to 1, or one would be empty.
    """
    if len(shares) not in _PARTS or not min(shares) > 0 or not abs(sum(shares) - 1) <= 1e-6:  # nor NaN
        raise InputError(
            f'--split needs two or three shares that add up to 1, got {" ".join(map(str, shares))}'
        )
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    ends = [round(sum(shares[: k + 1]) * len(names)) for k in range(len(shares))]
    parts = {
        part: sorted(shuffled[start:end])
        for part, start, end in zip(_PARTS[len(shares)], [0, *ends], ends, strict=False)
    }
    if empty := [part for part, found in parts.items() if not found]:
        raise InputError(
            f'--split {" ".join(map(str, shares))} of {len(names)} images leaves {empty[0]} none'
        )
    return parts


def choose_picture(files: VocFiles, key: str, stated_name: str | None) -> Path:
    """The picture of an annotation: of its name, or else the one that it names.

    Args:
        files: Of the data set.
        key: Name of the annotation, behind its folder where there are several.
        stated_name: The XML's ``<filename>``, None where it has none.

    Raises:
        InputError: If there is none.
    """
    found = files.pictures.get(key, [])
    stated = Path(stated_name.replace('\\', '/')).name if stated_name else None
    if len(found) > 1:
        return next((path for path in found if path.name == stated), found[0])
    if found:
        return found[0]
    folder, stem = files.folders[key], key.rpartition('/')[2]
    if stated and (folder / stated).is_file():
        return folder / stated
    raise InputError(f'image {folder / stem}.jpg: no such file')


def _split_folders(root: Path, splits: Sequence[str] | None) -> dict[str, Path]:
    """``train``, ``valid``, ... where every split has a folder with annotations of its own."""
    if (root / 'ImageSets').is_dir():
        return {}
    names = splits or [name for name in ('train', 'valid', 'val', 'test') if (root / name).is_dir()]
    folders = {name: root / name for name in names}
    return folders if all(p.is_dir() and _xml_folder(p) for p in folders.values()) else {}


def _add(files: VocFiles, root: Path, prefix: str) -> list[str]:
    """Add a folder's annotations and pictures; the keys of the annotations."""
    folder = _xml_folder(root)
    if folder is None:
        raise InputError(f'{root}: no .xml file there, nor in its Annotations')
    pictures = _folder_with(root, _IMAGE_FOLDERS, SUFFIXES) or folder
    by_stem: dict[str, list[Path]] = {}
    for path in _files(pictures, SUFFIXES):
        by_stem.setdefault(path.stem, []).append(path)
    keys = []
    for path in _files(folder, ('.xml',)):
        keys.append(f'{prefix}{path.stem}')
        files.annotations[keys[-1]] = path
        files.folders[keys[-1]] = pictures
        files.pictures[keys[-1]] = by_stem.pop(path.stem, [])
    if by_stem:
        files.notes.append(f'{len(by_stem)} images in {pictures} without an .xml file are left out')
    return keys


def _xml_folder(root: Path) -> Path | None:
    return _folder_with(root, _XML_FOLDERS, ('.xml',)) or (root if _files(root, ('.xml',)) else None)


def _folder_with(root: Path, names: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """The first of the named folders, whatever their case, that holds files of these suffixes."""
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    there = [folders[name] for name in names if name in folders]
    return next((folder for folder in there if _files(folder, suffixes)), None)


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Sorted, without hidden ones (macOS leaves ``._NAME.xml``); a picture's usual suffix before others."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != '.' and p.is_file())
    return sorted(found, key=lambda p: (p.stem, suffixes.index(p.suffix.lower())))


def _usual_lists(folder: Path) -> list[str] | None:
    there = {path.stem for path in folder.glob('*.txt')} if folder.is_dir() else set()
    usual_lists: list[tuple[str, ...]] = [('trainval', 'test'), ('train', 'val', 'test'), ('trainval', 'val')]
    for usual in usual_lists:
        found = [name for name in usual if name in there]
        if len(found) > 1 or (found and len(there) == 1):
            return found
    if there:
        raise InputError(f'{folder}: say which lists with --splits: {listed(sorted(there))}')
    return None


def _read_list(path: Path, known: dict[str, Path]) -> list[str]:
    """The names of a list; a line may end in VOC's flag of a class, -1, 0 or 1."""
    try:
        lines = decode(path.read_bytes()).splitlines()
    except OSError as error:
        raise InputError(f'image list {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'image list {path}: not UTF-8 text ({error.reason})') from error
    names = [_listed_name(line.strip(), known) for line in lines if line.strip()]
    if not names:
        raise InputError(f'image list {path}: is empty')
    if bad := [name for name in names if Path(name).name != name]:
        raise InputError(f'image list {path}: {bad[0]!r} must be a plain name')
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f'image list {path}: {unknown[0]!r} has no .xml file beside {len(known)} that there are'
        )
    return list(dict.fromkeys(names))


def _listed_name(line: str, known: dict[str, Path]) -> str:
    flagged = re.fullmatch(r'(.*\S)\s+(-1|0|1)', line)
    candidates = [line, flagged[1]] if flagged else [line]
    for candidate in list(candidates):
        stem, dot, suffix = candidate.rpartition('.')
        if dot and f'.{suffix.lower()}' in (*SUFFIXES, '.xml'):
            candidates.append(stem)
    return next((candidate for candidate in candidates if candidate in known), candidates[-1])
