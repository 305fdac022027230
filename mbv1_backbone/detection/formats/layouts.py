"""Opening a data set with boxes in whatever layout it has: COCO's, YOLO's, PASCAL VOC's, Roboflow's."""

from __future__ import annotations

import os
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.formats.coco_files import classes_of, coco_files, left_out, read_coco_files
from mbv1_backbone.detection.formats.splits import DetectionData, Split, by_role
from mbv1_backbone.detection.formats.voc import changes, read_voc
from mbv1_backbone.detection.formats.voc_files import has_voc
from mbv1_backbone.detection.formats.yolo import read_yolo
from mbv1_backbone.detection.formats.yolo_files import YAML, find_yolo, has_yolo_labels, yolo_yaml

__all__ = ['LAYOUTS', 'open_data']

LAYOUTS = dict(coco='COCO', yolo='YOLO', voc='PASCAL VOC')
_ROBOFLOW = ('README.roboflow.txt', 'README.dataset.txt')


def open_data(
    path: str | os.PathLike[str], layout: str | None = None, unreadable: dict[Path, str] | None = None
) -> DetectionData:
    """Read the annotations of a data set.

    Args:
        path: Its folder, ``data.yaml`` of YOLO's, or a JSON file of COCO's.
        layout: A key of ``LAYOUTS``; None to find out.
        unreadable: Gets pictures that cannot be read, with the reason, as far as they are looked at here;
            without it they are refused.

    Raises:
        InputError: If it has no layout that is known or several of them, or cannot be read.
    """
    path = Path(path)
    found = layout or _layout_of(path)
    if found == 'coco':
        return _open_coco(path)
    if found == 'yolo':
        return _open_yolo(path, unreadable)
    return _open_voc(path, unreadable)


def _layout_of(path: Path) -> str:
    if path.is_file():
        if path.suffix.lower() in YAML:
            return 'yolo'
        if path.suffix.lower() == '.json':
            return 'coco'
        raise InputError(f"{path}: must be a folder, data.yaml of YOLO's or a .json file of COCO's")
    if not path.is_dir():
        raise InputError(f'{path}: no such file or folder')
    signs = dict(coco=_coco_sign(path), yolo=_yolo_sign(path), voc='.xml files' if has_voc(path) else '')
    found = {layout: sign for layout, sign in signs.items() if sign}
    if len(found) > 1:
        told = ' and '.join(f"{LAYOUTS[layout]}'s ({sign})" for layout, sign in found.items())
        raise InputError(f'{path}: has annotations in {told}: say which with --layout {" or ".join(found)}')
    if not found:
        raise InputError(
            f"{path}: no annotations there: neither COCO's .json files with images, annotations and "
            "categories, nor YOLO's data.yaml or labels/*.txt, nor PASCAL VOC's .xml files"
        )
    return next(iter(found))


def _coco_sign(path: Path) -> str:
    files = coco_files(path)
    return next(iter(files.values())).relative_to(path).as_posix() if files else ''


def _yolo_sign(path: Path) -> str:
    found = yolo_yaml(path)
    return found[0].name if found else 'labels/*.txt' if has_yolo_labels(path) else ''


def _open_coco(path: Path) -> DetectionData:
    files = coco_files(path)
    if not files:
        raise InputError(f"{path}: no .json file of COCO's there, nor in its annotations")
    splits, notes = read_coco_files(files)
    notes += left_out(path, files)
    classes, more = classes_of(splits)
    return DetectionData(path, _name('coco', path), classes, splits, notes + more)


def _open_yolo(path: Path, unreadable: dict[Path, str] | None) -> DetectionData:
    if path.is_dir() and (found := yolo_yaml(path)):
        if len(found) > 1:
            raise InputError(f'{path}: has {" and ".join(p.name for p in found)}: give one of them')
        source = found[0]
    else:
        source = path
    files = find_yolo(source)
    splits, notes = read_yolo(files, unreadable)
    return DetectionData(path, _name('yolo', path), files.classes, splits, notes)


def _open_voc(path: Path, unreadable: dict[Path, str] | None) -> DetectionData:
    found = read_voc(path, in_place=True, unreadable=unreadable, whole=True)
    roles = dict(all='all') if 'all' in found.coco else by_role(found.coco, str(path))
    if not roles:
        raise InputError(f'{path}: none of {", ".join(found.coco)} says what it is for: train, val or test')
    splits = {
        role: Split(f'{path} ({name})', path.absolute(), found.coco[name]) for role, name in roles.items()
    }
    notes = [f'{role}: {told}' for role, name in roles.items() for told in changes(found.report[name])]
    classes = tuple(found.report['classes'])
    return DetectionData(path, _name('voc', path), classes, splits, [*found.report['notes'], *notes])


def _name(layout: str, path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    roboflow = any((place / name).is_file() for place in (folder, folder.parent) for name in _ROBOFLOW)
    return f'{LAYOUTS[layout]}{" (Roboflow)" if roboflow else ""}'
