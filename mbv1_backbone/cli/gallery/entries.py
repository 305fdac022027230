"""The gallery's verbs for entries and people: remove, list, get, update, rename and the like."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Condition, Gallery
from mbv1_backbone.retrieval.conditions import value_of

__all__ = [
    'correct',
    'get',
    'listing',
    'merge_people',
    'read_conditions',
    'read_metadata',
    'remove',
    'rename',
    'update',
]

_CONDITION = re.compile('([^=!<>]+)(!=|<=|>=|=|<|>)(.*)', re.DOTALL)


def remove(args: Namespace) -> None:
    """Remove the entries that are named and print how many they were."""
    if not (args.id or args.identity or args.file):
        raise InputError('say what to remove: --id, --identity or --file')
    with Gallery(args.gallery) as gallery:
        for number in args.id or ():
            gallery.get(number)  # refuses what is not there
        named = args.identity is not None or args.file is not None
        if named and next(iter(gallery.entries(args.identity, args.file)), None) is None:
            names = [repr(name) for name in (args.identity, args.file) if name is not None]
            raise InputError(f'{args.gallery}: no entry of {" and ".join(names)}')
        count = gallery.remove(args.id or (), args.identity, args.file)
        print(f'{count} removed, {len(gallery)} left')


def listing(args: Namespace) -> None:
    """Print the entries that fit the conditions as JSON, one a line."""
    with Gallery(args.gallery, read_only=args.read_only) as gallery:
        for entry in gallery.entries(args.identity, args.file, read_conditions(args.where)):
            print(json.dumps(dict(asdict(entry)), ensure_ascii=False))


def get(args: Namespace) -> None:
    """Show an entry."""
    with Gallery(args.gallery, read_only=args.read_only) as gallery:
        print(json.dumps(asdict(gallery.get(args.id)), ensure_ascii=False, indent=2))


def update(args: Namespace) -> None:
    """Set an entry's metadata; keys that are not named stay."""
    with Gallery(args.gallery) as gallery:
        gallery.update(args.id, {**gallery.get(args.id).metadata, **read_metadata(args.set)})


def rename(args: Namespace) -> None:
    """Give a person another name."""
    with Gallery(args.gallery) as gallery:
        print(f'{gallery.rename(args.identity, args.new)} entries of {args.new}')


def merge_people(args: Namespace) -> None:
    """Make several names one person."""
    with Gallery(args.gallery) as gallery:
        count = gallery.merge_identities(args.identities, args.into)
        print(f'{count} entries renamed; {gallery.identities()[args.into]} of {args.into}')


def correct(args: Namespace) -> None:
    """Say that entries do not show their person; it is remembered."""
    with Gallery(args.gallery) as gallery:
        gallery.not_this_person(args.id, args.identity)
        print(f'{len(args.id)} corrected, {len(gallery)} entries')


def read_metadata(pairs: list[str] | None) -> dict[str, Any]:
    """``key=value`` arguments as a dict; values as ``value_of`` reads them.

    Raises:
        InputError: If one has no value.
    """
    if wrong := [pair for pair in pairs or () if not pair.partition('=')[0] or '=' not in pair]:
        raise InputError(f'metadata is given as key=value, got {wrong[0]}')
    return {key: value_of(text) for key, _, text in (pair.partition('=') for pair in pairs or ())}


def read_conditions(texts: list[str] | None) -> list[Condition] | None:
    """Conditions such as ``year>=2001``; None where there are none.

    A number and its text are one in ``=`` and ``!=``, since metadata that came from tables may be either;
    ``<``, ``<=``, ``>`` and ``>=`` compare numbers with numbers and text with text.

    Raises:
        InputError: If one is no condition.
    """
    conditions: list[Condition] = []
    for text in texts or ():
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise InputError(f'metadata is given as key=value, or with !=, <, <=, >, >=; got {text}')
        key, operator, words = found.groups()
        value = value_of(words)
        either = [words] if value == words else [value, words]
        if operator == '=':
            conditions.append(Condition(key, 'in', either))
        elif operator == '!=':
            conditions += [Condition(key, '!=', one) for one in either]
        else:
            conditions.append(Condition(key, operator, value))
    return conditions or None
