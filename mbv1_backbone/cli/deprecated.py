"""Names of options that have changed: the old ones are taken for one version, with a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mbv1_backbone.cli.options import warn_renamed

__all__ = ['RENAMED', 'Renamed', 'with_new_names']


class Renamed(NamedTuple):
    """An option's two names, and the verb that it is of."""

    verb: str
    old: str
    new: str


RENAMED = (
    Renamed('test', '--show-dir', '--out-dir'),
    Renamed('benchmark', '--out', '--out-dir'),
    Renamed('faces evaluate', '--json', '--out'),
    Renamed('faces evaluate', '--draw', '--out-dir'),
    Renamed('gallery calibrate', '--strangers', '--non-mated'),
    Renamed('gallery search', '--sheet', '--out'),
    Renamed('weights import', '--unfold', '--recalibrate-bn'),
)


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """The arguments of ``mbv1`` with today's names of options; each old one is warned about."""
    given = list(arguments)
    for verb, old, new in RENAMED:
        words = verb.split()
        if given[: len(words)] != words:
            continue
        for index, word in enumerate(given):
            name, equals, value = word.partition('=')
            if name == old:
                warn_renamed(f'mbv1 {verb}: {old}', new)
                given[index] = new + equals + value
    return given
