"""Faces that somebody has told apart, face by face: names of groups come and go, and this stays.

In the table of corrections a label, ``apart-`` and 32 digits, takes the place of a name, which no entry ever
has: the faces that are wrong for it were taken out of a group of those that are right for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from sqlite3 import Connection
from typing import NamedTuple

from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.unnamed import is_group

__all__ = ['LABELLED', 'Face', 'faces_of', 'forget', 'is_label', 'leave', 'tell_name']

_LABEL = re.compile('apart-[0-9a-f]{32}')
LABELLED = f"identity GLOB 'apart-{'[0-9a-f]' * 32}'"
_TELL_NAME = (
    'INSERT OR IGNORE INTO corrections SELECT sha256, box, :name, 0, made FROM corrections AS told '
    f'WHERE NOT correct AND {LABELLED} AND identity IN (SELECT own.identity FROM corrections AS own '
    'JOIN entries USING (sha256, box) WHERE own.correct AND entries.identity = :name) '
    'AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.sha256 = told.sha256 AND entries.box = told.box '
    'AND entries.identity = :name)'
)

Face = tuple[str, str]  # SHA-256 of the image file, and the box in it as it is stored


class _Told(NamedTuple):
    """What was told at once: faces that were taken out, those that they were taken from, and when."""

    out: set[Face]
    group: set[Face]
    made: float


def is_label(identity: str) -> bool:
    """Whether this takes the place of a name."""
    return _LABEL.fullmatch(identity) is not None


def faces_of(connection: Connection, identity: str) -> set[Face]:
    """The faces that have a name."""
    return set(connection.execute('SELECT sha256, box FROM entries WHERE identity = ?', (identity,)))


def leave(connection: Connection, faces: Set[Face], identity: str, made: float) -> None:
    """Remember that faces are not of a group which they were of; others were not taken from them, then.

    Args:
        connection: Within a transaction.
        faces: That have the name no longer.
        identity: The name of the group. What is not right for a person who has a name is known by that name.
        made: When it was said, seconds since 1970.
    """
    staying = faces_of(connection, identity)
    for label, told in _all(connection).items():
        gone = told.group & faces
        if len(gone) <= len(told.group & staying):  # else it is the others that were not of that group
            connection.executemany(
                'DELETE FROM corrections WHERE sha256 = ? AND box = ? AND identity = ?',
                [(*face, label) for face in gone],
            )
    if is_group(identity):
        _tell(connection, _Told(set(faces), staying, made))


def forget(connection: Connection, identity: str) -> None:
    """Forget that faces which have one name now were told apart; what was said of others stays.

    Args:
        connection: Within a transaction.
        identity: The name.
    """
    own = faces_of(connection, identity)
    for label, (out, group, made) in _all(connection).items():
        if out & own and group & own:
            connection.execute('DELETE FROM corrections WHERE identity = ?', (label,))
            _tell(connection, _Told(out - own, group, made))
            _tell(connection, _Told(out & own, group - own, made))


def tell_name(connection: Connection, identity: str) -> None:
    """Say that those who were told apart from faces which have a name are not that person."""
    connection.execute(_TELL_NAME, {'name': identity})


def _tell(connection: Connection, told: _Told) -> None:
    if told.out and told.group:
        sides = sorted(told.out), sorted(told.group)
        label = f'apart-{schema.checksum(json.dumps(sides).encode()).hex()}'
        rows = [(*face, label, right, told.made) for right, side in enumerate(sides) for face in side]
        connection.executemany('INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?, ?)', rows)


def _all(connection: Connection) -> dict[str, _Told]:
    found: dict[str, _Told] = {}
    rows = connection.execute(
        f'SELECT sha256, box, identity, correct, made FROM corrections WHERE {LABELLED}'
    )
    for sha256, box, label, right, made in rows:
        told = found.setdefault(label, _Told(set(), set(), made))
        (told.group if right else told.out).add((sha256, box))
    return found
