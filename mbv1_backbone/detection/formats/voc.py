"""PASCAL VOC annotations to COCO's format."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.images import FORMATS, SUFFIXES

Annotation = dict[str, Any]


def convert_voc(
    root: str | Path,
    out: str | Path,
    splits: Sequence[str],
    classes: Sequence[str] | None = None,
    link: bool = False,
) -> dict[str, Any]:
    """Convert the splits of a VOC data set to ``out/annotations/SPLIT.json`` and ``out/images/``.

    VOC counts pixels from 1 and includes the last (http://host.robots.ox.ac.uk/pascal/VOC/), so a box
    becomes ``[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]``. Boxes are clipped to their image,
    and dropped where nothing is left. Difficult objects become crowds, which COCO's metrics ignore as
    VOC's do. Categories are numbered from 1.

    Args:
        root: Folder with ``Annotations``, ``ImageSets/Main`` and ``JPEGImages``.
        out: Folder to write.
        splits: Names of lists in ``ImageSets/Main``, without ``.txt``.
        classes: Names to keep, in this order; by default all, sorted.
        link: Make symbolic links to the images instead of copies.

    Returns:
        Counts: ``classes``; and per split ``images``, ``boxes``, ``dropped``, ``other_classes``.

    Raises:
        InputError: If a file is missing or cannot be read; nothing is written then.
    """
    root, out = Path(root), Path(out)
    ids = {split: _read_list(root / 'ImageSets' / 'Main' / f'{split}.txt') for split in splits}
    every_id = sorted(set().union(*ids.values()))
    objects = {
        i: _read_xml(root / 'Annotations' / f'{i}.xml') for i in tqdm(every_id, 'reading', unit='file')
    }
    images = {i: _find_image(root / 'JPEGImages', i) for i in every_id}
    sizes = {i: _image_size(path) for i, path in images.items()}
    names = list(classes or sorted({o['name'] for found in objects.values() for o in found}))

    report: dict[str, Any] = dict(classes=names)
    for split in splits:
        coco, counts = _to_coco(ids[split], objects, images, sizes, names)
        write_json(out / 'annotations' / f'{split}.json', coco)
        report[split] = counts
    (out / 'images').mkdir(parents=True, exist_ok=True)
    for path in tqdm(images.values(), 'images', unit='file'):
        _place(path, out / 'images' / path.name, link)
    return report


def _to_coco(
    ids: Sequence[str],
    objects: dict[str, list[Annotation]],
    images: dict[str, Path],
    sizes: dict[str, tuple[int, int]],
    names: Sequence[str],
) -> tuple[dict[str, Any], dict[str, int]]:
    counts = Counter(images=len(ids), boxes=0, dropped=0, other_classes=0)
    coco: dict[str, Any] = dict(
        images=[], annotations=[], categories=[dict(id=k, name=name) for k, name in enumerate(names, 1)]
    )
    for number, name in enumerate(ids, 1):
        width, height = sizes[name]
        coco['images'].append(dict(id=number, file_name=images[name].name, width=width, height=height))
        for found in objects[name]:
            x1, y1, x2, y2 = found['box']
            x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            if found['name'] not in names:
                counts['other_classes'] += 1
            elif x2 <= x1 or y2 <= y1:
                counts['dropped'] += 1
            else:
                counts['boxes'] += 1
                coco['annotations'].append(
                    dict(
                        id=len(coco['annotations']) + 1,
                        image_id=number,
                        category_id=names.index(found['name']) + 1,
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        area=(x2 - x1) * (y2 - y1),
                        iscrowd=found['difficult'],
                    )
                )
    return coco, dict(counts)


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text().split('\n')
    except OSError as error:
        raise InputError(f'image list {path}: {error.strerror}') from error
    ids = [line.split()[0] for line in lines if line.strip()]
    if not ids:
        raise InputError(f'image list {path}: is empty')
    if bad := [i for i in ids if Path(i).name != i]:
        raise InputError(f'image list {path}: {bad[0]!r} must be a plain name')
    return list(dict.fromkeys(ids))


def _read_xml(path: Path) -> list[Annotation]:
    """The objects of one file; boxes as x1, y1, x2, y2 in pixel edges, from 0."""
    try:
        tree = ElementTree.parse(path).getroot()
        return [_read_object(node) for node in tree.iter('object')]
    except OSError as error:
        raise InputError(f'annotation {path}: {error.strerror}') from error
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f'annotation {path}: {error}') from error


def _read_object(node: ElementTree.Element) -> Annotation:
    def text(tag: str) -> str:
        value = node.findtext(tag)
        if value is None or not value.strip():
            raise ValueError(f'an object has no <{tag.rpartition("/")[2]}>')
        return value.strip()

    xmin, ymin, xmax, ymax = (float(text(f'bndbox/{tag}')) for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
    difficult = int((node.findtext('difficult') or '0').strip() == '1')
    return dict(name=text('name'), box=(xmin - 1, ymin - 1, xmax, ymax), difficult=difficult)


def _find_image(folder: Path, name: str) -> Path:
    for suffix in SUFFIXES:
        for path in (folder / f'{name}{suffix}', folder / f'{name}{suffix.upper()}'):
            if path.is_file():
                return path
    raise InputError(f'image {folder / name}.jpg: no such file')


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height), from the file's header."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except OSError as error:
        raise InputError(f'image {path}: {error}') from error


def _place(source: Path, target: Path, link: bool) -> None:
    if link:
        target.unlink(missing_ok=True)
        os.symlink(source.resolve(), target)
    else:
        shutil.copyfile(source, target)
