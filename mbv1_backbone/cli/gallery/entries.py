"""The gallery's verbs for entries and people: remove, list, get, update, rename, split and the like."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.names import guess, plain_name
from mbv1_backbone.retrieval import Condition, Gallery
from mbv1_backbone.retrieval.checks import check_text
from mbv1_backbone.retrieval.conditions import value_of

__all__ = [
    'correct',
    'get',
    'known_name',
    'listing',
    'merge_people',
    'read_conditions',
    'read_filter',
    'read_metadata',
    'remove',
    'rename',
    'split',
    'update',
]

_GUESSED = 10_000  # people among whom the nearest name is looked for
_CONDITION = re.compile('([^=!<>]+)(!=|<=|>=|=|<|>)(?![=<>])(.*)', re.DOTALL)


def remove(args: Namespace) -> None:
    """Remove the entries that are named and print how many they were."""
    if not (args.id or args.identity or args.file):
        raise InputError('say what to remove: --id, --identity or --file')
    with Gallery(args.gallery) as gallery:
        for number in args.id or ():
            gallery.get(number)  # refuses what is not there
        identity = known_name(gallery, args.identity) if args.identity else None
        if args.file and next(gallery.entries(identity, args.file), None) is None:
            names = [repr(name) for name in (identity, args.file) if name]
            raise InputError(f'{args.gallery}: no entry of {" and ".join(names)}')
        count = gallery.remove(args.id or (), identity, args.file)
        print(f'{count} removed, {len(gallery)} left')


def listing(args: Namespace) -> None:
    """Print the entries that fit the conditions as JSON, one a line."""
    with Gallery(args.gallery, read_only=args.read_only) as gallery:
        asked = read_filter(gallery, args)
        for entry in gallery.entries(file=args.file, **asked):
            print(options.json_line(asdict(entry)))


def get(args: Namespace) -> None:
    """Show an entry."""
    with Gallery(args.gallery, read_only=args.read_only) as gallery:
        print(options.json_line(asdict(gallery.get(args.id)), indent=2))


def update(args: Namespace) -> None:
    """Set an entry's metadata; keys that are not named stay."""
    with Gallery(args.gallery) as gallery:
        gallery.update(args.id, {**gallery.get(args.id).metadata, **read_metadata(args.set)})


def rename(args: Namespace) -> None:
    """Give a person another name."""
    new = plain_name(args.new)
    with Gallery(args.gallery) as gallery:
        print(f'{gallery.rename(known_name(gallery, args.identity), new)} entries of {shown(new)}')


def merge_people(args: Namespace) -> None:
    """Make several names one person."""
    with Gallery(args.gallery) as gallery:
        into = plain_name(args.into)
        count = gallery.merge_identities([known_name(gallery, name) for name in args.identities], into)
        print(f'{count} entries renamed; {gallery.identities()[into]} of {shown(into)}')


def correct(args: Namespace) -> None:
    """Say that entries do not show their person; it is remembered."""
    with Gallery(args.gallery) as gallery:
        gallery.not_this_person(args.id, None if args.identity is None else plain_name(args.identity))
        print(f'{len(args.id)} corrected, {len(gallery)} entries')


def split(args: Namespace) -> None:
    """Say that some entries of a person or group are another's, all of them the same one's."""
    with Gallery(args.gallery) as gallery:
        name = gallery.split(args.id, None if args.identity is None else plain_name(args.identity))
        print(f'{len(set(args.id))} entries are {shown(name)} now')


def read_metadata(pairs: list[str] | None) -> dict[str, Any]:
    """``key=value`` arguments as a dict; values as ``value_of`` reads them, without spaces at their ends.

    Raises:
        InputError: If one has no value.
    """
    if wrong := [pair for pair in pairs or () if not pair.partition('=')[0].strip() or '=' not in pair]:
        raise InputError(f'metadata is given as key=value, got {wrong[0]}')
    split = (pair.partition('=') for pair in pairs or ())
    return {key.strip(): value_of(text.strip()) for key, _, text in split}


def read_filter(gallery: Gallery, args: Namespace) -> dict[str, Any]:
    """``--identity`` and ``--where``, as options of a gallery's ``entries`` and ``search``.

    Raises:
        InputError: If one is no condition, or nobody has the name, or no entry has the key with such values:
            it is mistyped more often than it is meant.
    """
    conditions = read_conditions(args.where)
    identity = None if args.identity is None else known_name(gallery, args.identity)
    for condition in conditions or ():
        _check_key(gallery, condition)
    return dict(identity=identity, metadata=conditions)


def known_name(gallery: Gallery, name: str) -> str:
    """A person's name as the gallery has it, which may be encoded otherwise in Unicode.

    Raises:
        InputError: If nobody has it.
    """
    people = gallery.identities()
    for form in (name, plain_name(name)):
        if check_text(form, 'identity') in people:
            return form
    like = guess([name], list(people)) if len(people) <= _GUESSED else ''
    raise InputError(f'{gallery.folder}: no entry of {name!r:.60}{like}')


def _check_key(gallery: Gallery, condition: Condition) -> None:
    kinds = gallery.metadata_kinds(condition.key)
    if not kinds:
        raise InputError(f'{gallery.folder}: no entry has metadata of the key {condition.key!r:.60}')
    if condition.operator in ('<', '<=', '>', '>='):
        text = isinstance(condition.value, str)
        if not ({'text'} if text else {'int', 'real'}) & kinds:
            raise InputError(
                f'{gallery.folder}: {condition.key!r:.60} is nowhere {"text" if text else "a number"}, so '
                f'nothing is {condition.operator} {condition.value!r:.60}'
            )


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
        if found is None or not found[1].strip():
            raise InputError(f'metadata is given as key=value, or with !=, <, <=, >, >=; got {text}')
        key, operator, words = (part.strip() for part in found.groups())
        value = value_of(words)
        either = [words] if value == words else [value, words]
        if operator == '=':
            conditions.append(Condition(key, 'in', either))
        elif operator == '!=':
            conditions += [Condition(key, '!=', one) for one in either]
        else:
            conditions.append(Condition(key, operator, value))
    return conditions or None
