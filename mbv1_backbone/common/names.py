"""Names that should be the same: what to say where they are not."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ['guess', 'is_of_one_line', 'listed', 'nearest', 'number_of', 'plain_name']

_SHOWN = 10  # names in one message
_BREAKING = ('Cc', 'Zl', 'Zp')  # Unicode's categories of control characters, and of what ends lines
_TURNING = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')  # the direction of text


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``name``; None where none is like it."""
    plain: dict[str, str] = {}
    for other in names:
        plain.setdefault(_plain(other), other)
    found = difflib.get_close_matches(_plain(name), list(plain), n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def listed(names: Sequence[str]) -> str:
    """``'a', 'b' and 3 more``; quoted, so that blanks show."""
    shown = ', '.join(repr(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return (f'{shown} and {more} more' if more > 0 else shown) or 'none'


def guess(names: Iterable[str], others: Sequence[str]) -> str:
    """``; did you mean 'Flower ' by 'flower'?`` for the first of ``names`` that is like one of ``others``."""
    for name in names:
        if found := nearest(name, others):
            return f'; did you mean {found!r} by {name!r}?'
    return ''


def number_of(count: int, one: str, several: str | None = None) -> str:
    """``1 group``, ``2 groups``.

    Args:
        count: How many.
        one: What a single one is called.
        several: What several are called; by default the same with an ``s``.
    """
    return f'{count} {one if count == 1 else several or f"{one}s"}'


def plain_name(name: str) -> str:
    """A person's name in Unicode's composed form, without spaces at its ends: how it is enrolled."""
    return unicodedata.normalize('NFC', name).strip()


def is_of_one_line(name: str) -> bool:
    """Whether a name has neither control characters nor line breaks, nor what turns the direction of text."""
    return not any(unicodedata.category(one) in _BREAKING or one in _TURNING for one in name)


def _plain(name: str) -> str:
    return ' '.join(name.casefold().replace('_', ' ').replace('-', ' ').split())
