"""Errors of verification by group, from photographs that each show another person.

Data sets with labels of age, gender or race often have one photograph a person: impostor pairs can be made of
them, and genuine pairs only of a photograph and an altered copy. The false match rate is therefore measured,
and the false non-match rate only against changes of light, sharpness and position: what years, poses and
cameras do to a group cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        threshold: Cosine from which pairs are accepted.
        fmr: False match rate of all pairs at it: less than was wanted where scores are equal.
        groups: In the order of their names.
    """

    threshold: float
    fmr: float
    groups: tuple[Group, ...]


def rates_by_group(
    faces: np.ndarray, copies: np.ndarray, labels: Sequence[str], far: float = 0.01
) -> GroupRates:
    """False match and false non-match rates of groups.

    The threshold accepts as many pairs as it can, and no more than the wanted share; pairs of equal scores
    all, or none. It lies half-way between two scores, where a last bit does not count.

    Args:
        faces: Embeddings (N, D) of length 1, each of another person.
        copies: Of their altered copies.
        labels: Group of each, N.
        far: Share of all pairs of different photographs, of whatever groups, that the threshold may accept.

    Raises:
        InputError: If there are fewer than two faces, or too few pairs for the rate, or it is no share.
    """
    pairs = len(faces) * (len(faces) - 1) // 2
    if not 0 < far < 1:
        raise InputError(f'far must lie between 0 and 1, got {far:g}')
    allowed = int(np.floor(far * pairs + 1e-9))
    if allowed < 1:
        raise InputError(f'{len(faces)} faces make {pairs} pairs, too few for a rate of {far:g}')
    # Each pair is multiplied once: in products of other shapes its last bit may be another.
    impostors = [faces[row + 1 :] @ faces[row] for row in range(len(faces) - 1)]
    scores = np.concatenate(impostors)
    first = pairs - allowed - 1  # of the ascending scores the highest that must be rejected
    threshold = _just_above(scores, np.partition(scores, first)[first])
    genuine = np.einsum('nd,nd->n', faces, copies)
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    groups = []
    for code, name in enumerate(names.tolist()):
        mine = codes == code
        rows = zip(impostors, mine[:-1], range(1, len(faces)), strict=True)
        own = np.concatenate([part[mine[after:]] for part, inside, after in rows if inside] or [scores[:0]])
        fmr = float((own >= threshold).mean()) if len(own) else float('nan')
        groups.append(Group(name, int(mine.sum()), fmr, float((genuine[mine] < threshold).mean())))
    return GroupRates(threshold, float((scores >= threshold).mean()), tuple(groups))


def _just_above(scores: np.ndarray, limit: np.floating) -> float:
    """A threshold that a score does not reach, and any higher one does."""
    higher = scores[scores > limit]
    if not len(higher):
        return float(np.nextafter(limit, limit.dtype.type(2)))
    return max(float((limit + higher.min()) / 2), float(np.nextafter(limit, higher.min())))


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
