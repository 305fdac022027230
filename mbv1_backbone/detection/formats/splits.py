"""Parts of a detection data set: their names in the wild, and their annotations as COCO has them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import listed
from mbv1_backbone.detection.formats.coco import CocoAnnotations, checked
from mbv1_backbone.detection.formats.voc_files import divide

__all__ = ['ROLES', 'DetectionData', 'Split', 'by_role', 'divided', 'in_common', 'of_images', 'role_of']

ROLES = ('train', 'val', 'test')
_WORDS = {
    'train': ('train', 'training', 'trainval'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing'),
}
_SHARE = 0.2  # held out where there is nothing to validate on


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        source: File or folder that it comes from, for messages.
        folder: That the names of its pictures start from.
        coco: Its annotations, as a file in COCO's format has them.
        file: The file that holds just these; None where there is none.
    """

    source: str
    folder: Path
    coco: dict[str, Any]
    file: Path | None = None

    @property
    def pictures(self) -> set[Path]:
        """The files that its entries name."""
        return {(self.folder / str(image.get('file_name'))).absolute() for image in self.coco['images']}

    def read(self, classes: Sequence[str], training: bool = False) -> CocoAnnotations:
        """The annotations, checked; the split stays as it is.

        Args:
            classes: Names by label.
            training: Refuse what nothing can be learnt from.

        Raises:
            InputError: As ``read_coco``.
        """
        return checked(copy.deepcopy(self.coco), self.source, self.folder, classes, training)


@dataclass(frozen=True)
class DetectionData:
    """A data set with boxes, of whatever layout.

    Attributes:
        root: File or folder that was given.
        layout: Name of the layout, for people.
        classes: Names by label.
        splits: Of ``train``, ``val`` and ``test`` those that there are; ``all`` where it is not divided.
        notes: What was decided on the way, a line each.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the folder, or of the file's folder."""
        path = self.root.resolve()
        return (path if path.is_dir() else path.parent).name or 'data'


def role_of(name: str) -> str | None:
    """``train``, ``val`` or ``test``, where a file's or folder's name says it as a word.

    Example:
        >>> role_of('instances_train2017'), role_of('valid'), role_of('trainers')
        ('train', 'val', None)
    """
    words = set(re.findall(r'[a-z]+', name.lower()))
    found = [role for role, known in _WORDS.items() if words & set(known)]
    return found[0] if len(found) == 1 else None


def by_role(names: Iterable[str], where: str) -> dict[str, str]:
    """The name of every role, in the roles' order; names that say none are left out.

    Raises:
        InputError: If two names say the same.
    """
    found: dict[str, str] = {}
    for name in names:
        role = role_of(name)
        if role is None:
            continue
        if role in found:
            raise InputError(f'{where}: both {found[role]} and {name} are to {_use(role)}: give one of them')
        found[role] = name
    return {role: found[role] for role in ROLES if role in found}


def in_common(splits: Mapping[str, Split]) -> list[str]:
    """A line for every two parts that share pictures; of ``test`` that is ``val`` there is nothing to say."""
    pictures = {role: split.pictures for role, split in splits.items()}
    told = []
    for (role, mine), (other, theirs) in combinations(pictures.items(), 2):
        common = len(mine & theirs)
        if common and (role == 'train' or mine != theirs):
            told.append(f'{common} pictures are in both {role} and {other}')
    return told


def divided(data: DetectionData, share: float | None = None, seed: int = 0) -> DetectionData:
    """The same with something to train on and something to validate on.

    Where nothing is to validate on, it is what is to test with; without that a share of the images is held
    out at random, by their names: the same ones whatever the layout.

    Args:
        data: Of whatever parts.
        share: That is held out, between 0 and 1; a fifth where it is None.
        seed: Of that choice.

    Raises:
        InputError: If nothing is to train on, or a share is given for what is divided already.
    """
    splits, notes = dict(data.splits), list(data.notes)
    if 'all' in splits:
        splits['train'] = splits.pop('all')
    if 'train' not in splits:
        raise InputError(f'{data.root}: has {listed(list(splits))} and nothing to train on')
    if len(splits) > 1 and share is not None:
        raise InputError(f'{data.root}: has {listed(list(splits))}; --held-out is of what is not divided')
    if len(splits) == 1:
        share = _SHARE if share is None else share
        if not 0 < share < 1:
            raise InputError(f'--held-out must lie between 0 and 1, got {share:g}')
        splits |= _divide(splits['train'], share, seed)
        notes.append(f'nothing to validate on: {100 * share:g}% of the images held out by seed {seed}')
    elif 'val' not in splits:
        splits['val'] = splits['test']
        notes.append('nothing to validate on but the test images')
    ordered = {role: splits[role] for role in ROLES if role in splits}
    return DetectionData(data.root, data.layout, data.classes, ordered, notes)


def _divide(split: Split, share: float, seed: int) -> dict[str, Split]:
    names = {str(image.get('file_name', '')) for image in split.coco['images']}
    if not 0 < round((1 - share) * len(names)) < len(names):
        raise InputError(f'{split.source}: {100 * share:g}% of {len(names)} images cannot be held out')
    parts = divide(sorted(names), (1 - share, share), seed)
    made = {}
    for role, chosen in parts.items():
        kept = set(chosen)
        coco = of_images(split.coco, partial(_is_named, names=kept))
        coco['images'] = sorted(coco['images'], key=lambda image: str(image.get('file_name', '')))
        made[role] = Split(f'{split.source} ({role})', split.folder, coco)
    return made


def _is_named(image: dict[str, Any], names: set[str]) -> bool:
    return str(image.get('file_name', '')) in names


def of_images(coco: dict[str, Any], keep: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The images that are to be kept, with their annotations, whether ids are numbers or text."""
    images = [image for image in coco['images'] if keep(image)]
    ids = {_same_id(image.get('id')) for image in images}
    annotations = [a for a in coco.get('annotations') or () if _same_id(a.get('image_id')) in ids]
    return {**coco, 'images': images, 'annotations': annotations}


def _same_id(value: Any) -> str:
    """An id as text: tools write 3, '3' and 3.0 for one."""
    return str(value).strip().removesuffix('.0')


def _use(role: str) -> str:
    return dict(train='train on', val='validate on', test='test with')[role]
