"""The gallery's verbs for entries and people: remove, list, get, update, rename and the like."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery


def remove(args: Namespace) -> None:
    """Remove entries."""
    if not (args.id or args.identity or args.file):
        raise InputError('say what to remove: --id, --identity or --file')
    with Gallery(args.gallery) as gallery:
        count = gallery.remove(args.id or (), args.identity, args.file)
        print(f'{count} removed, {len(gallery)} left')


def listing(args: Namespace) -> None:
    """List entries."""
    with Gallery(args.gallery) as gallery:
        for entry in gallery.entries(args.identity, args.file, read_metadata(args.where)):
            print(json.dumps(dict(asdict(entry)), ensure_ascii=False))


def get(args: Namespace) -> None:
    """Show an entry."""
    with Gallery(args.gallery) as gallery:
        print(json.dumps(asdict(gallery.get(args.id)), ensure_ascii=False, indent=2))


def update(args: Namespace) -> None:
    """Set an entry's metadata; keys that are not named stay."""
    with Gallery(args.gallery) as gallery:
        gallery.update(args.id, {**gallery.get(args.id).metadata, **(read_metadata(args.set) or {})})


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


def read_metadata(pairs: list[str] | None) -> dict[str, str] | None:
    """``key=value`` arguments as a dict; None where there are none.

    Raises:
        InputError: If one has no value.
    """
    if wrong := [pair for pair in pairs or () if '=' not in pair]:
        raise InputError(f'metadata is given as key=value, got {wrong[0]}')
    return dict(pair.split('=', 1) for pair in pairs) if pairs else None
