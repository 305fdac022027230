"""The gallery's verbs for entries and people: remove, list, get, update, rename, split and the like."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.gallery.making import open_folder
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.names import guess, number_of, plain_name
from mbv1_backbone.retrieval import Condition, Entry, GalleryLike, open_gallery
from mbv1_backbone.retrieval.checks import check_text
from mbv1_backbone.retrieval.conditions import value_of
from mbv1_backbone.retrieval.records import THUMBNAIL

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
_READ = 100_000  # entries up to which their names are read for that
_COMPARISON = re.compile('([^=!<>]+)(!=|<=|>=|=|<|>)(?![=<>])(.*)', re.DOTALL)
_PRESENCE = re.compile(r'([^=!<>]+)\s(exists|missing)\s*', re.DOTALL)
_JSON_LIST = re.compile(r'([^=!<>]+?)\s(in)\s+(\[.*\])\s*', re.DOTALL)
_LIST = re.compile(r'([^=!<>]+?)\s(in)\s+(.+)', re.DOTALL)
_FORMS = (_JSON_LIST, _COMPARISON, _LIST, _PRESENCE)  # the first that fits


def remove(args: Namespace) -> None:
    """Remove the entries that are named and print how many they were."""
    if not (args.id or args.identity or args.file):
        raise InputError('say what to remove: --id, --identity or --file')
    with open_gallery(args.gallery) as gallery:
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
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        asked = read_filter(gallery, args)
        if args.file is not None and next(gallery.entries(file=args.file), None) is None:
            raise InputError(f'{args.gallery}: no entry of {args.file!r}')
        count = 0
        for entry in gallery.entries(file=args.file, **asked):
            print(options.json_line(_shown(entry)))
            count += 1
        if not count:
            print(f'{args.gallery}: no entry fits', file=sys.stderr)


def get(args: Namespace) -> None:
    """Show an entry."""
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        print(options.json_line(_shown(gallery.get(args.id)), indent=2))


def _shown(entry: Entry) -> dict[str, Any]:
    """An entry for people: of a thumbnail that it has only that it is there."""
    values = asdict(entry)
    if THUMBNAIL in entry.metadata:
        values['metadata'] = {**entry.metadata, THUMBNAIL: '(a picture)'}
    return values


def update(args: Namespace) -> None:
    """Set an entry's metadata; keys that are not named stay."""
    with open_gallery(args.gallery) as gallery:
        gallery.update(args.id, read_metadata(args.set), keep=True)


def rename(args: Namespace) -> None:
    """Give a person another name."""
    new = plain_name(args.new)
    with open_gallery(args.gallery) as gallery:
        count = gallery.rename(known_name(gallery, args.identity), new)
        print(f'{number_of(count, "entry", "entries")} of {shown(new)}')


def merge_people(args: Namespace) -> None:
    """Make several names one person."""
    with open_gallery(args.gallery) as gallery:
        into = plain_name(args.into)
        count = gallery.merge_identities([known_name(gallery, name) for name in args.identities], into)
        now = gallery.images_of([into])[into]
        print(f'{number_of(count, "entry", "entries")} renamed; {now} of {shown(into)}')


def correct(args: Namespace) -> None:
    """Say that entries do not show their person; it is remembered."""
    with open_folder(args.gallery, 'correct') as gallery:
        gallery.not_this_person(args.id, None if args.identity is None else plain_name(args.identity))
        print(f'{len(args.id)} corrected, {number_of(len(gallery), "entry", "entries")}')


def split(args: Namespace) -> None:
    """Say that some entries of a person or group are another's, all of them the same one's."""
    with open_folder(args.gallery, 'split') as gallery:
        name = gallery.split(args.id, None if args.identity is None else plain_name(args.identity))
        count = len(set(args.id))
        print(f'{count} {"entry is" if count == 1 else "entries are"} {shown(name)} now')


def read_metadata(pairs: list[str] | None) -> dict[str, Any]:
    """``key=value`` arguments as a dict; values as ``value_of`` reads them, without spaces at their ends.

    Raises:
        InputError: If one has no value.
    """
    if wrong := [pair for pair in pairs or () if not pair.partition('=')[0].strip() or '=' not in pair]:
        raise InputError(f'metadata is given as key=value, got {wrong[0]}')
    split = (pair.partition('=') for pair in pairs or ())
    return {key.strip(): value_of(text.strip()) for key, _, text in split}


def read_filter(gallery: GalleryLike, args: Namespace) -> dict[str, Any]:
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


def known_name(gallery: GalleryLike, name: str) -> str:
    """A person's name as the gallery has it, which may be encoded otherwise in Unicode.

    Raises:
        InputError: If nobody has it.
    """
    forms = [check_text(form, 'identity') for form in (name, plain_name(name))]
    there = gallery.images_of(forms)
    for form in forms:
        if form in there:
            return form
    people = list(gallery.identities()) if len(gallery) <= _READ else []
    like = guess([name], people) if len(people) <= _GUESSED else ''
    raise InputError(f'{gallery.place}: no entry of {name!r:.60}{like}')


def _check_key(gallery: GalleryLike, condition: Condition) -> None:
    kinds = gallery.metadata_kinds(condition.key)
    if not kinds:
        raise InputError(f'{gallery.place}: no entry has metadata of the key {condition.key!r:.60}')
    if condition.operator in ('<', '<=', '>', '>='):
        text = isinstance(condition.value, str)
        if not ({'text'} if text else {'int', 'real'}) & kinds:
            raise InputError(
                f'{gallery.place}: {condition.key!r:.60} is nowhere {"text" if text else "a number"}, so '
                f'nothing is {condition.operator} {condition.value!r:.60}'
            )


def read_conditions(texts: list[str] | None) -> list[Condition] | None:
    """Conditions such as ``year>=2001``, ``team in red,blue`` and ``year exists``; None where there are none.

    A number and its text are one in ``=``, ``!=`` and ``in``, since metadata that came from tables may be
    either; ``<``, ``<=``, ``>`` and ``>=`` compare numbers with numbers and text with text. A list in
    brackets is JSON, whose values keep their types.

    Raises:
        InputError: If one is no condition.
    """
    return [condition for text in texts or () for condition in _read_condition(text)] or None


def _read_condition(text: str) -> list[Condition]:
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None or not found[1].strip():
        raise InputError(
            f"metadata is given as key=value, or with !=, <, <=, >, >=, 'key in a,b', 'key exists' or "
            f"'key missing'; got {text}"
        )
    key, operator = found[1].strip(), found[2]
    if found.re is _PRESENCE:
        return [Condition(key, operator)]
    if operator == 'in':
        return [Condition(key, 'in', _listed(found[3].strip(), text))]
    either = _either(found[3].strip())
    if operator == '=':
        return [Condition(key, 'in', either)]
    if operator == '!=':
        return [Condition(key, '!=', one) for one in either]
    return [Condition(key, operator, either[0])]


def _either(words: str) -> list[Any]:
    """The value that words are, and themselves where they are another."""
    value = value_of(words)
    return [words] if value == words else [value, words]


def _listed(words: str, text: str) -> list[Any]:
    """The values of a list: JSON in brackets, or words with commas between them."""
    if not words.startswith('['):
        pieces = [piece.strip() for piece in words.split(',')]
        if not all(pieces):
            raise InputError(f'a value is missing between commas: {text}')
        return [one for piece in pieces for one in _either(piece)]
    try:
        values: list[Any] = json.loads(words)
    except ValueError as error:
        raise InputError(f'{text}: no JSON list: {error}') from error
    return values
