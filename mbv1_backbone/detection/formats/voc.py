"""PASCAL VOC annotations to COCO's format."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import atomic_file, write_json
from mbv1_backbone.common.names import guess, listed, plain_name
from mbv1_backbone.detection.formats.pictures import (
    PictureSize,
    Size,
    drawn_on,
    fits,
    picture_size,
    same_shape,
)
from mbv1_backbone.detection.formats.voc_files import VocFiles, choose_picture, find_voc
from mbv1_backbone.detection.formats.voc_xml import VocAnnotation, read_annotation

__all__ = ['Picture', 'VocData', 'changes', 'convert_voc', 'read_voc', 'summary']

_LEFT_OUT = dict(
    dropped='without area in the image', not_numbers='not numbers', other_classes='of other classes'
)
_CHANGED = dict(
    scaled="resized since: boxes scaled from the XML's <size>",
    other_size="of another size than the XML's <size>, which boxes do not fit",
)
_COUNTS = ('images', 'boxes', *_LEFT_OUT, *_CHANGED)


class Picture(NamedTuple):
    """A picture file, the size that boxes are given in, and by how much the XML's are scaled to it."""

    path: Path
    size: Size
    scale: tuple[float, float]
    other_size: bool


class VocData(NamedTuple):
    """A data set, read: COCO's form of every split, the pictures and their names in it, and a report."""

    coco: dict[str, dict[str, Any]]
    pictures: dict[str, Picture]
    targets: dict[str, str]
    report: dict[str, Any]


def convert_voc(
    root: str | Path,
    out: str | Path,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    link: bool = False,
    *,
    shares: Sequence[float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Convert the splits of a VOC data set to ``out/annotations/SPLIT.json`` and ``out/images/``.

    VOC counts pixels from 1 and includes the last (http://host.robots.ox.ac.uk/pascal/VOC/), so a box
    becomes ``[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]``. Boxes are clipped to their image,
    and dropped where nothing is left. Difficult objects become crowds, which COCO's metrics ignore as
    VOC's do. Categories are numbered from 1.

    The XML's ``<size>`` decides whether boxes were drawn on the pixels as stored or as EXIF turns them, and
    whether the image was resized afterwards: then boxes are scaled to it.

    Args:
        root: Folder of annotations and images; see ``find_voc``.
        out: Folder to write.
        splits: Names of lists in ``ImageSets/Main``, without ``.txt``; by default those that there are, and
            where there are none, .8 of the images are ``train`` and .2 ``val``.
        classes: Names to keep, in this order; by default all, sorted.
        link: Make symbolic links to the images instead of copies.
        shares: Divide at random instead: two or three shares for ``train``, ``val`` and ``test``.
        seed: Of the division.

    Returns:
        ``classes``; ``splits``; ``notes``, lines for the user; and per split counts: ``images``, ``boxes``,
        ``dropped`` (without area in the image), ``not_numbers``, ``other_classes``, and images ``scaled``
        or of an ``other_size`` than the XML says.

    Raises:
        InputError: If a file is missing or cannot be read, or no box is left; nothing is written then.
    """
    out = Path(out)
    found = read_voc(root, splits, classes, shares=shares, seed=seed)
    for key, picture in tqdm(found.pictures.items(), 'images', unit='file'):
        _place(picture.path, out / 'images' / found.targets[key], link)
    for split, coco in found.coco.items():  # last: what they name is there
        write_json(out / 'annotations' / f'{split}.json', coco)
    return found.report


def read_voc(
    root: str | Path,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    *,
    shares: Sequence[float] | None = None,
    seed: int = 0,
    in_place: bool = False,
    whole: bool = False,
    unreadable: dict[Path, str] | None = None,
) -> VocData:
    """The same without writing anything.

    Args:
        root: Folder of annotations and images; see ``find_voc``.
        splits: As ``convert_voc`` has them; so are the next three.
        classes: Names to keep.
        shares: Divide at random.
        seed: Of the division.
        whole: Leave a set without lists in one piece, ``all``.
        in_place: Name pictures by where they are below ``root``, not by where they would be written.
        unreadable: Gets the pictures that cannot be read, with the reason, which are left out then; without
            it they are refused.

    Raises:
        InputError: As ``convert_voc``.
    """
    files = find_voc(Path(root), splits, shares, seed, whole)
    used = sorted(set().union(*files.splits.values()))
    read = {key: read_annotation(files.annotations[key]) for key in tqdm(used, 'reading', unit='file')}
    _check_pixels(read, root)
    pictures = _pictures(files, read, unreadable)
    names = _classes(classes, read, root)
    targets = _places(pictures, Path(root)) if in_place else _targets(pictures)
    report: dict[str, Any] = dict(classes=names, splits=list(files.splits), notes=files.notes)
    made = {}
    for split, keys in files.splits.items():
        keys = [key for key in keys if key in pictures]
        made[split], report[split] = _to_coco(keys, read, pictures, targets, names)
    if not any(coco['annotations'] for coco in made.values()):
        raise InputError(f'{root}: no box is left of {sum(len(found.objects) for found in read.values())}')
    report['notes'] += _overlaps(files.splits)
    return VocData(made, pictures, targets, report)


def summary(report: dict[str, Any]) -> str:
    """What ``convert_voc`` did: the classes, and a line for every split and note."""
    lines = [f'classes {", ".join(report["classes"])}']
    for split in report['splits']:
        counts = report[split]
        told = [f'{counts["images"]} images, {counts["boxes"]} boxes', *changes(counts)]
        lines.append(f'  {split}: {"; ".join(told)}')
    return '\n'.join(lines + [f'  {note}' for note in report['notes']])


def changes(counts: dict[str, int]) -> list[str]:
    """What of a split was left out, and what was changed, from its counts; nothing where nothing was."""
    left_out = [f'{counts[name]} {why}' for name, why in _LEFT_OUT.items() if counts[name]]
    changed = [f'{counts[name]} images {why}' for name, why in _CHANGED.items() if counts[name]]
    return [*([f'boxes left out: {", ".join(left_out)}'] if left_out else []), *changed]


def _check_pixels(read: dict[str, VocAnnotation], root: str | Path) -> None:
    """Refuse boxes that are fractions of their images throughout."""
    ends = [found.box[2:] for annotation in read.values() for found in annotation.objects]
    if ends and all(max(end) <= 1 for end in ends):
        raise InputError(
            f'{root}: all {len(ends)} boxes end within the first pixel, at {ends[0]}; VOC counts pixels from '
            '1, these are fractions of the image'
        )


def _to_coco(
    keys: Sequence[str],
    read: dict[str, VocAnnotation],
    pictures: dict[str, Picture],
    targets: dict[str, str],
    names: Sequence[str],
) -> tuple[dict[str, Any], dict[str, int]]:
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    counts['images'] = len(keys)
    annotations: list[dict[str, Any]] = []
    images = []
    for number, key in enumerate(keys, 1):
        (width, height), scale = pictures[key].size, pictures[key].scale
        images.append(dict(id=number, file_name=targets[key], width=width, height=height))
        counts['scaled'] += scale != (1, 1)
        counts['other_size'] += pictures[key].other_size
        for found in read[key].objects:
            x1, y1, x2, y2 = (v * s for v, s in zip(found.box, scale * 2, strict=True))
            finite = all(map(math.isfinite, found.box))
            x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            if found.name not in names:
                counts['other_classes'] += 1
            elif not finite:
                counts['not_numbers'] += 1
            elif x2 <= x1 or y2 <= y1:
                counts['dropped'] += 1
            else:
                counts['boxes'] += 1
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=names.index(found.name) + 1,
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        area=(x2 - x1) * (y2 - y1),
                        iscrowd=found.difficult,
                    )
                )
    categories = [dict(id=k, name=name) for k, name in enumerate(names, 1)]
    return dict(images=images, annotations=annotations, categories=categories), dict(counts)


def _classes(requested: Sequence[str] | None, read: dict[str, VocAnnotation], root: str | Path) -> list[str]:
    requested = [plain_name(name) for name in requested or ()]
    there = sorted({found.name for annotation in read.values() for found in annotation.objects})
    if unknown := [name for name in requested if name not in there]:
        raise InputError(
            f'--classes: no object in {root} is called {listed(unknown)}, but {listed(there)}'
            f'{guess(unknown, there)}'
        )
    return list(dict.fromkeys(requested or there))


def _pictures(
    files: VocFiles, read: dict[str, VocAnnotation], unreadable: dict[Path, str] | None
) -> dict[str, Picture]:
    """The picture of every annotation; those that cannot be read are refused, or put down and left out."""
    found = {}
    for key, annotation in read.items():
        path = files.annotations[key]  # what is named where there is no picture
        try:
            path = choose_picture(files, key, annotation.filename)
            size = picture_size(path, annotation.size)
        except InputError as error:
            if unreadable is None:
                raise
            unreadable[path] = str(error)
            continue
        found[key] = _picture(files.annotations[key], annotation, path, size)
    return found


def _places(pictures: dict[str, Picture], root: Path) -> dict[str, str]:
    """Where the pictures are, below the root."""
    return {key: picture.path.relative_to(root).as_posix() for key, picture in pictures.items()}


def _picture(file: Path, annotation: VocAnnotation, path: Path, picture: PictureSize) -> Picture:
    stated, reach = annotation.size, annotation.reach
    if stated is None or not annotation.objects:
        return Picture(path, drawn_on(None, picture, reach) or picture.shown, (1, 1), False)
    if stated not in picture.candidates and fits(reach, stated) and (size := same_shape(stated, picture)):
        return Picture(path, size, (size[0] / stated[0], size[1] / stated[1]), False)
    size = drawn_on(stated, picture, reach)
    if size is None:
        raise InputError(
            f'annotation {file}: its <size> is {stated[0]} x {stated[1]}, but {path} is '
            f'{picture.shown[0]} x {picture.shown[1]}; where its boxes belong cannot be known'
        )
    return Picture(path, size, (1, 1), size != stated)


def _targets(pictures: dict[str, Picture]) -> dict[str, str]:
    """Names below ``out/images``: a picture's own, behind its split's folder where there is one."""
    targets = {key: f'{key.rpartition("/")[0]}/{p.path.name}'.lstrip('/') for key, p in pictures.items()}
    taken: dict[str, str] = {}
    for key, target in targets.items():
        if target in taken:
            raise InputError(f'image {pictures[key].path}: belongs to {taken[target]}.xml and to {key}.xml')
        taken[target] = key
    return targets


def _overlaps(splits: dict[str, list[str]]) -> list[str]:
    """A line for every two splits that share images."""
    names = list(splits)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    common = {(a, b): len(set(splits[a]) & set(splits[b])) for a, b in pairs}
    return [f'{count} images are in both {a} and {b}' for (a, b), count in common.items() if count]


def _place(source: Path, target: Path, link: bool) -> None:
    """Put a picture at its place, atomically; one that is there, or that a link leads to there, stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent.resolve() / target.name == source.parent.resolve() / source.name:
        return  # converted in place
    if target.exists() and not target.is_symlink() and target.samefile(source):
        return
    if link:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f'.{target.name}.') as folder:
            os.replace(_linked(source, Path(folder)), target)
    else:
        with open(source, 'rb') as original, atomic_file(target) as copy:
            shutil.copyfileobj(original, copy)


def _linked(source: Path, folder: Path) -> Path:
    """A new link to a picture."""
    link = folder / 'link'
    link.symlink_to(source.resolve())
    return link
