"""Faces that nobody has named: each has an automatic name of its own, and so has each group of them.

``unnamed-0123456789`` is a face alone, ``group-0123456789`` are faces that belong together. The digits are
of the face's hash (of the first one in a group), so that galleries can be merged without one name for two.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from itertools import count

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.checks import Box, check_text

__all__ = ['check_given_name', 'group_name', 'is_alone', 'is_group', 'is_unnamed', 'unnamed']

_DIGITS = 10
_ALONE = re.compile(f'unnamed-[0-9a-f]{{{_DIGITS}}}')
_GROUP = re.compile(f'group-[0-9a-f]{{{_DIGITS}}}')

Face = tuple[str, Box | None]


def unnamed(sha256: str, box: Box | None) -> str:
    """The automatic name of a face alone.

    Args:
        sha256: Of the image file.
        box: Of the face in it, in whole pixels; None where the image is the face.
    """
    return f'unnamed-{_digits(sha256, box)}'


def group_name(faces: Sequence[Face], taken: Container[str]) -> str:
    """An automatic name for a group: by the first of its faces whose name is free.

    Args:
        faces: Of the group: the SHA-256 of each image file, and the box in it.
        taken: Names that others have.
    """
    salted = (f'group-{_digits(*face, salt)}' for salt in count() for face in faces)
    return next(name for name in salted if name not in taken)


def check_given_name(identity: str) -> str:
    """A name that somebody gives: any text but what is, or is taken for, an automatic one.

    Raises:
        InputError: If it is not.
    """
    if is_unnamed(check_text(identity, 'identity')) or identity.startswith('unnamed-'):
        raise InputError(
            f'names like {identity!r:.60} are given to faces and groups without one: take another'
        )
    return identity


def is_alone(identity: str) -> bool:
    """Whether a name is that of a face alone, that nobody has named."""
    return _ALONE.fullmatch(identity) is not None


def is_group(identity: str) -> bool:
    """Whether a name is that of a group that nobody has named."""
    return _GROUP.fullmatch(identity) is not None


def is_unnamed(identity: str) -> bool:
    """Whether a name is automatic."""
    return is_alone(identity) or is_group(identity)


def _digits(sha256: str, box: Box | None, salt: int = 0) -> str:
    text = f'{sha256} {schema.box_text(box)}' + (f' {salt}' if salt else '')
    return schema.checksum(text.encode()).hex()[:_DIGITS]
