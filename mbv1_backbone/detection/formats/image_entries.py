"""The images of an annotation file: their ids, where the pictures lie, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.pictures import PictureSize, Size, drawn_on, fits, picture_size
from mbv1_backbone.detection.formats.report import Report
from mbv1_backbone.detection.formats.values import Id, number, plain_id

__all__ = ['Images', 'check_sizes', 'place_images', 'places_of', 'read_images']

Images = dict[Id, dict[str, Any]]

_THREADS = 8  # that read headers at once


def read_images(raw: Sequence[Any], report: Report) -> Images:
    """The entries by id, in the file's order; an entry that is repeated as it is counts once.

    Raises:
        InputError: If an entry lacks its id or name, or an id is given to two pictures.
    """
    images: Images = {}
    for place, entry in enumerate(raw):
        if not isinstance(entry, dict):
            raise InputError(f'{report.name}: images[{place}] must be an object, got {entry!r}')
        if entry.get('id') is None:
            raise InputError(f"{report.name}: images[{place}] has no 'id'")
        image_id = plain_id(entry['id'], f'{report.name}: images[{place}]: id')
        name = entry.get('file_name') or str(entry.get('coco_url') or '').rpartition('/')[2]
        if not isinstance(name, str) or not name:
            raise InputError(f"{report.name}: image {image_id} has no 'file_name'")
        other = images.get(image_id)
        if other is not None and other['file_name'] != name:
            raise InputError(
                f'{report.name}: image id {image_id} is given to {other["file_name"]} and to {name}'
            )
        if other is not None:
            report.add('twice', name)
            continue
        images[image_id] = {**entry, 'id': image_id, 'file_name': name, **_stated_size(entry)}
    if len({type(image_id) for image_id in images}) > 1:
        mixed = next(i for i in images if isinstance(i, str))
        raise InputError(f'{report.name}: image ids must all be numbers, or all be text, got {mixed!r} too')
    return images


def place_images(images: Images, folder: Path, report: Report) -> None:
    """Set every ``file_name`` to where the picture lies below the folder.

    Backslashes separate folders too. Leading folders are left away where there are none of that name, and
    only the same ones of all images: ``val/1.jpg`` is not the picture ``1.jpg`` of ``train``.

    Args:
        images: Their ``file_name`` is changed in place.
        folder: Where the pictures are.
        report: Gets the count of names that were changed.

    Raises:
        InputError: If a picture is not there, or is that of two entries.
    """
    missing = []
    taken: dict[str, Id] = {}
    places = places_of([image['file_name'] for image in images.values()], folder)
    for image_id, image in images.items():
        found = places.get(image['file_name'])
        if found is None:
            missing.append(image['file_name'])
            continue
        if found != image['file_name']:
            report.add('moved', image['file_name'])
        if found in taken:
            raise InputError(
                f'{report.name}: images {taken[found]} and {image_id} are one picture, {folder / found}: '
                'an image must have one id, with all its boxes'
            )
        taken[found] = image_id
        image['file_name'] = found
    if missing:
        raise InputError(
            f'{report.name}: {len(missing)} of {len(images)} pictures are not in {folder}, '
            f'the first: {missing[0]}; their folder is data_prefix.img of the data set'
        )


def check_sizes(
    images: Images, annotations: Sequence[dict[str, Any]], folder: Path | None, report: Report
) -> None:
    """Set every ``width`` and ``height`` to the picture's, as it is stored or as EXIF turns it.

    Without a folder the stated sizes stay, 0 where there is none.

    Args:
        images: Changed in place; their ``file_name`` is below the folder.
        annotations: With ``image_id`` and ``bbox`` (x, y, width, height in pixels).
        folder: Of the pictures, or None.
        report: Gets the counts of sizes that were missing or wrong.

    Raises:
        InputError: If a picture cannot be read, or has another size than stated and it cannot be known which
            of them its boxes belong to.
    """
    if folder is None:
        return
    reach: dict[Id, tuple[float, float]] = {}
    for annotation in annotations:
        (x, y, w, h), (right, bottom) = annotation['bbox'], reach.get(annotation['image_id'], (0.0, 0.0))
        reach[annotation['image_id']] = max(right, x + w), max(bottom, y + h)

    def look(image: dict[str, Any]) -> PictureSize:
        return picture_size(folder / image['file_name'], _size(image))

    with ThreadPoolExecutor(_THREADS) as pool:
        pictures = dict(zip(images, pool.map(look, images.values()), strict=True))
    unknown: list[Id] = []
    proven = 0  # sizes that are wrong, as boxes show which fit into the picture alone
    for image_id, image in images.items():
        stated, picture = _size(image), pictures[image_id]
        size = drawn_on(stated, picture, reach.get(image_id, (0.0, 0.0)))
        if stated is None:
            report.add('no_size', image['file_name'])
        elif size != stated:
            report.add('size', image['file_name'])
            proven += size is not None
        if size is None and image_id in reach:
            unknown.append(image_id)
        else:
            image['width'], image['height'] = size or picture.shown
    for image_id in unknown:
        _take_size(images[image_id], pictures[image_id], reach[image_id], proven > 0, folder, report.name)


def _take_size(
    image: dict[str, Any],
    picture: PictureSize,
    reach: tuple[float, float],
    proven: bool,
    folder: Path,
    name: str,
) -> None:
    """Take the picture's size where other images of the file have proven theirs; else refuse."""
    stated = image['width'], image['height']
    contradicts = fits(reach, stated) and not any(fits(reach, size) for size in picture.candidates)
    if not proven or contradicts:
        raise InputError(
            f'{name}: {folder / image["file_name"]} is {picture.shown[0]} x {picture.shown[1]}, its entry '
            f'says {stated[0]} x {stated[1]}, and which of them its boxes belong to cannot be known: correct '
            "width and height, or remove them to take the picture's"
        )
    image['width'], image['height'] = picture.shown


def places_of(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Where pictures lie below the folder, by the name that their entry states; of those that are there."""
    found = {name: name for name in names if (folder / name).is_file()}
    tails = {name: _tails(name, folder) for name in names if name not in found}
    leading = Counter(parts for by_leading in tails.values() for parts in by_leading)
    common = leading.most_common(1)[0][0] if leading else ''
    for name, by_leading in tails.items():
        if (tail := by_leading.get('') or by_leading.get(common)) is not None:
            found[name] = tail
    return found


def _tails(name: str, folder: Path) -> dict[str, str]:
    """Names below the folder that a name may mean, by the leading folders that it is left without."""
    parts = PurePosixPath(name.replace('\\', '/').lstrip('/')).parts
    tails = {'/'.join(parts[:start]): '/'.join(parts[start:]) for start in range(len(parts))}
    return {
        leading: tail
        for leading, tail in tails.items()
        if (folder / tail).is_file() and not (leading and _is_other_folder(leading, folder))
    }


def _is_other_folder(leading: str, folder: Path) -> bool:
    """Whether leading folders are there, inside the folder or beside it: the pictures are theirs."""
    inside, beside = folder / leading, folder.parent / leading
    return inside.is_dir() or (beside.is_dir() and not beside.samefile(folder))


def _size(image: dict[str, Any]) -> Size | None:
    return (image['width'], image['height']) if image['width'] and image['height'] else None


def _stated_size(entry: dict[str, Any]) -> dict[str, int]:
    """Width and height in whole pixels; 0 where they are missing, not positive or not numbers."""
    width, height = (number(entry.get(key)) for key in ('width', 'height'))
    good = width is not None and height is not None and width >= 1 and height >= 1
    return dict(width=round(width or 0), height=round(height or 0)) if good else dict(width=0, height=0)
