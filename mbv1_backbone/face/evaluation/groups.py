"""Errors of verification by group, from photographs that each show another person.

Data sets with labels of age, gender or race often have one photograph a person: impostor pairs can be made of
them, and genuine pairs only of a photograph and an altered copy. The false match rate is therefore measured,
and the false non-match rate only against changes of light, sharpness and position: what years, poses and
cameras do to a group cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.geometry import similarity

__all__ = ['Group', 'GroupRates', 'altered', 'rates_by_group']


@dataclass(frozen=True)
class Group:
    """Rates of a group at the threshold that all share.

    Attributes:
        name: Its label.
        faces: How many it has.
        fmr: False match rate: share of the pairs of different photographs within the group that are
            accepted; NaN of a single face.
        fnmr: False non-match rate: share of the faces that are rejected beside their altered copy.
    """

    name: str
    faces: int
    fmr: float
    fnmr: float


@dataclass(frozen=True)
class GroupRates:
    """Rates of all groups.

    Attributes:
        threshold: Cosine at which pairs are accepted.
        groups: In the order of their names.
    """

    threshold: float
    groups: tuple[Group, ...]


def rates_by_group(
    faces: np.ndarray, copies: np.ndarray, labels: Sequence[str], far: float = 0.01
) -> GroupRates:
    """False match and false non-match rates of groups.

    Args:
        faces: Embeddings (N, D) of length 1, each of another person.
        copies: Of their altered copies.
        labels: Group of each, N.
        far: Share of all pairs of different photographs, of whatever groups, that the threshold accepts.

    Raises:
        InputError: If there are fewer than two faces, or too few pairs for the rate, or it is no share.
    """
    pairs = len(faces) * (len(faces) - 1) // 2
    if not 0 < far < 1:
        raise InputError(f'far must lie between 0 and 1, got {far:g}')
    if far * pairs < 1:
        raise InputError(f'{len(faces)} faces make {pairs} pairs, too few for a rate of {far:g}')
    impostors = np.concatenate(list(_upper(faces)))
    last = pairs - int(far * pairs)  # the lowest that is accepted
    threshold = float(np.partition(impostors, (last - 1, last))[last - 1 : last + 1].mean())
    genuine = np.einsum('nd,nd->n', faces, copies)
    names = np.asarray(labels)
    groups = []
    for name in sorted(set(labels)):
        mine = names == name
        scores = np.concatenate([*_upper(faces[mine]), np.zeros(0, np.float32)])
        fmr = float((scores >= threshold).mean()) if len(scores) else float('nan')
        groups.append(Group(name, int(mine.sum()), fmr, float((genuine[mine] < threshold).mean())))
    return GroupRates(threshold, tuple(groups))


def _upper(faces: np.ndarray) -> Iterator[np.ndarray]:
    """Cosines of each face with those after it."""
    for row in range(len(faces) - 1):
        yield faces[row + 1 :] @ faces[row]


def altered(face: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The face as another photograph of the same moment might show it, RGB uint8 (S, S, 3).

    Zoomed by up to a tenth, shifted by up to 4 %, turned by up to 8 degrees; contrast, gamma and brightness
    changed; and half of them taken with half as many pixels.

    Args:
        face: RGB uint8 (S, S, 3).
        generator: Of the changes.
    """
    side = face.shape[0]
    scale = float(np.exp(generator.uniform(-0.1, 0.1)))
    right, down = (float(v) for v in generator.uniform(-0.04, 0.04, 2))
    matrix = similarity(side, side, scale, (right, down), float(generator.uniform(-8, 8)))
    moved = cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    gain, gamma = np.exp(generator.uniform(-0.3, 0.3, 2))
    values = (np.linspace(0, 1, 256) ** gamma - 0.5) * gain + 0.5 + generator.uniform(-0.1, 0.1)
    moved = cv2.LUT(moved, np.clip(values * 255, 0, 255).astype(np.uint8))
    if generator.random() < 0.5:
        small = cv2.resize(moved, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
        moved = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    return moved
