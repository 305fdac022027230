"""Where a data set in COCO's format keeps its annotation files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.detection.formats.splits import Split, by_role, in_common, role_of
from mbv1_backbone.detection.formats.values import number, read_json

__all__ = ['classes_of', 'coco_files', 'left_out', 'read_coco_files']

_ROBOFLOW = '_annotations.coco.json'
_LOOKED_AT = 20  # pictures of a file, to find their folder by
_OF_BOXES = 'instances_'  # COCO's own, beside captions_ and person_keypoints_


def coco_files(path: Path) -> dict[str, Path]:
    """The annotation files of a data set by ``train``, ``val``, ``test`` or ``all``; none if there are none.

    Args:
        path: A file, with ``val`` and ``test`` beside it where it is called ``train``; or a folder with files
            in it or in its ``annotations``, or in a folder for every part as Roboflow has them.

    Raises:
        InputError: If several files are for one use, or it cannot be told what they are for.
    """
    if path.is_file():
        return _with_siblings(path)
    parts = {p.name: p / _ROBOFLOW for p in sorted(path.iterdir()) if (p / _ROBOFLOW).is_file()}
    if parts:
        return {role: parts[name] for role, name in by_role(parts, str(path)).items()}
    folders = [p for p in sorted(path.iterdir()) if p.is_dir() and p.name.lower() == 'annotations']
    for folder in [*folders, path]:
        files = [p for p in sorted(folder.glob('*.json')) if p.name[0] != '.' and _is_coco(p)]
        if files:
            return _by_use(files, folder)
    return {}


def read_coco_files(files: dict[str, Path]) -> tuple[dict[str, Split], list[str]]:
    """Read the files and find their pictures.

    Returns:
        The splits, and notes.

    Raises:
        InputError: If a file cannot be read, or its pictures are not found.
    """
    splits = {}
    for role, file in files.items():
        raw = read_json(file)
        images = raw.get('images') if isinstance(raw, dict) else None
        if not isinstance(images, list) or not isinstance(raw.get('categories'), list):
            raise InputError(f"{file}: must be an object with images, annotations and categories, COCO's")
        if not images:
            raise InputError(f'{file}: has no images')
        for key in ('images', 'annotations'):
            entries = raw.get(key) or []
            wrong = next((k for k, entry in enumerate(entries) if not isinstance(entry, dict)), None)
            if wrong is not None:
                raise InputError(f'{file}: {key}[{wrong}] must be an object, got {entries[wrong]!r:.50}')
        splits[role] = Split(str(file), _picture_folder(file, images), raw, file)
    return splits, in_common(splits)


def left_out(path: Path, files: dict[str, Path]) -> list[str]:
    """A line of the annotation files of a folder that are not used, as their names do not say what for."""
    used = set(files.values())
    if path.is_file() or any(file.name == _ROBOFLOW for file in used):
        return []
    beside = sorted(next(iter(used)).parent.glob('*.json'))
    others = [p.name for p in beside if p not in used and p.name[0] != '.' and _is_coco(p)]
    return [f'left out, no part by their names: {listed(others)}'] if others else []


def classes_of(splits: dict[str, Split]) -> tuple[tuple[str, ...], list[str]]:
    """The classes of files, in the order of the category ids of what is trained on, and notes.

    A category that only groups the others, as Roboflow's first one does, is no class.

    Raises:
        InputError: If there is none.
    """
    split = splits.get('train') or next(iter(splits.values()))
    categories = [c for c in split.coco['categories'] if isinstance(c, dict) and c.get('name') is not None]
    used = {str(a.get('category_id')) for s in splits.values() for a in s.coco.get('annotations') or ()}
    above = {str(c.get('supercategory')) for c in categories if c.get('supercategory') != c['name']}
    groups = [c for c in categories if str(c['name']) in above and str(c.get('id')) not in used]
    kept = [c for c in categories if c not in groups]
    names = dict.fromkeys(str(c['name']) for c in sorted(kept, key=_order))
    if not names:
        raise InputError(f'{split.source}: its categories have no names')
    return tuple(names), [f'category {c["name"]!r} only groups others: no class' for c in groups]


def _order(category: dict[str, Any]) -> tuple[float, str]:
    value = number(category.get('id'))
    return (float('inf') if value is None else value, str(category.get('id')))


def _is_coco(path: Path) -> bool:
    """Whether a file is like COCO's; results and other JSON are not."""
    content = path.read_bytes()
    return all(f'"{key}"'.encode() in content for key in ('images', 'annotations', 'categories'))


def _with_siblings(path: Path) -> dict[str, Path]:
    role = role_of(path.stem)
    if path.name == _ROBOFLOW and (role := role_of(path.parent.name)):
        parts = {p.name: p / _ROBOFLOW for p in path.parent.parent.iterdir() if (p / _ROBOFLOW).is_file()}
        return {r: parts[n] for r, n in by_role(parts, str(path.parent.parent)).items()}
    if role != 'train':
        return dict(all=path)
    beside = [p for p in sorted(path.parent.glob('*.json')) if role_of(p.stem) in ('val', 'test')]
    mine = path.stem.lower().partition('train')
    beside = [p for p in beside if p.stem.lower().startswith(mine[0]) and _is_coco(p)]
    return dict(train=path) | {
        r: path.parent / n for r, n in by_role([p.name for p in beside], str(path.parent)).items()
    }


def _by_use(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """By role; one alone is all, COCO's own instances come before others."""
    own = [path for path in files if path.name.startswith(_OF_BOXES)]
    files = own or files
    if len(files) == 1:
        return {role_of(files[0].stem) or 'all': files[0]}
    found = by_role([path.name for path in files], str(folder))
    if not found:
        raise InputError(
            f'{folder}: {len(files)} files of COCO, {listed([p.name for p in files])}, and no name says '
            'which is to train on (train, val, test): give one file'
        )
    return {role: folder / name for role, name in found.items()}


def _picture_folder(file: Path, images: Sequence[Any]) -> Path:
    """The folder that the names of a file's pictures start from: of the usual ones that with most of them."""
    names = [str(i.get('file_name') or '') for i in images[:_LOOKED_AT] if isinstance(i, dict)]
    names = [name.replace('\\', '/') for name in names]
    here, above = file.parent, file.parent.parent
    short = file.stem.removeprefix(_OF_BOXES)
    tried = [here, here / 'images', above / 'images', above / 'images' / short, above / short]
    tried += [
        here / short,
        above,
        above / (role_of(short) or short),
        above / 'images' / (role_of(short) or short),
    ]
    tried = [folder for folder in dict.fromkeys(tried) if folder.is_dir()]

    def there(folder: Path) -> int:
        return sum((folder / name).is_file() for name in names)

    def there_by_name(folder: Path) -> int:
        return sum((folder / Path(name).name).is_file() for name in names)

    for count in (there, there_by_name):
        best = max(tried, key=count, default=None)
        if best is not None and count(best):
            return best
    looked = ', '.join(map(str, tried))
    raise InputError(
        f'{file}: its pictures are not found, the first is {names[0] if names else None}; looked in {looked}'
    )
