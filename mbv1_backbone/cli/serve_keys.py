"""Make, list and remove the keys of clients of mbv1 serve.

mbv1 serve-keys add phone --scope read --keys keys.json
"""

from __future__ import annotations

import argparse
import time

from mbv1_backbone.cli import options
from mbv1_backbone.common.choices import KEY_SCOPES

__all__ = ['add', 'add_arguments', 'listing', 'remove']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    made = _verb(parser, 'add', 'Make a key, and print it: it cannot be had again.', 'add')
    made.add_argument('name', help='of the client')
    made.add_argument(
        '--scope',
        choices=KEY_SCOPES,
        required=True,
        help='read: look at images and search; write: also change the gallery; '
        'admin: also calibrate and back up',
    )
    _verb(parser, 'list', 'List the keys by name.', 'listing')
    _verb(parser, 'remove', 'Remove a key: running services refuse it at once.', 'remove').add_argument(
        'name', help='of the client'
    )


def add(args: argparse.Namespace) -> None:
    """Make a key."""
    from mbv1_backbone.server.keys import add_key

    print(add_key(args.keys, args.name, args.scope))


def listing(args: argparse.Namespace) -> None:
    """List the keys."""
    from mbv1_backbone.server.keys import read_keys

    for key in read_keys(args.keys):
        print(f'{key.name}  {key.scope}  made {time.strftime("%Y-%m-%d", time.localtime(key.made))}')


def remove(args: argparse.Namespace) -> None:
    """Remove a key."""
    from mbv1_backbone.server.keys import remove_key

    remove_key(args.keys, args.name)


def _verb(parser: options.Parser, name: str, summary: str, function: str) -> options.Parser:
    made = parser.add_verb(name, summary, f'{__name__}:{function}')
    made.add_argument('--keys', metavar='FILE', required=True, help='file of their hashes')
    return made
