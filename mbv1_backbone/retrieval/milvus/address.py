"""Where a gallery on Milvus is: ``milvus://HOST:PORT/NAME``, or ``milvus+https://`` for TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from mbv1_backbone.common.errors import InputError

__all__ = ['Address', 'is_address', 'parse_address']

_SCHEMES = {'milvus': 'http', 'milvus+https': 'https'}
_PORT = 19530  # Milvus' own
_NAME = re.compile('[A-Za-z_][A-Za-z0-9_]{0,254}')  # of a collection, as Milvus takes it
_FORM = 'milvus://HOST:PORT/NAME, or milvus+https://HOST:PORT/NAME'


@dataclass(frozen=True)
class Address:
    """Where a collection is.

    Attributes:
        uri: Of the server, as pymilvus takes it.
        database: On the server; empty for its default one.
        collection: The name of the collection.
        text: The whole, as it was given. It never holds a token.
    """

    uri: str
    database: str
    collection: str
    text: str

    def __str__(self) -> str:
        return self.text


def is_address(place: object) -> bool:
    """Whether a gallery's place is on Milvus, and no folder.

    Raises:
        InputError: If it is an address of something else, or one that ``Path`` has taken a slash from.
    """
    scheme, there, rest = str(place).partition(':/')
    if isinstance(place, str) and rest.startswith('/'):
        if scheme not in _SCHEMES:
            raise InputError(f'{_shown(place)}: a gallery is in a folder, or at {_FORM}')
        return True
    if there and scheme in _SCHEMES:
        raise InputError(f'{place}: the place of a gallery on Milvus is text, {_FORM}')
    return False


def parse_address(place: str) -> Address:
    """The parts of a place on Milvus.

    Raises:
        InputError: If it is not of that form, or holds a password.
    """
    if '@' in place:
        raise InputError(
            f'{_shown(place)}: a password in an address ends in logs: '
            'put the token (USER:PASSWORD) into the environment variable MBV1_MILVUS_TOKEN'
        )
    try:
        parts = urlsplit(place)
        port = parts.port or _PORT
    except ValueError as error:
        raise InputError(f'{_shown(place)}: {error}; a gallery on Milvus is {_FORM}') from error
    *databases, name = parts.path.strip('/').split('/')
    names = [*databases, name]
    if not parts.hostname or len(names) > 2 or parts.query or parts.fragment:
        raise InputError(f'a gallery on Milvus is {_FORM}, got {_shown(place)}')
    if wrong := [one for one in names if not _NAME.fullmatch(one)]:
        raise InputError(
            f'{place}: a name on Milvus has letters, digits and _ only, and begins with no digit, '
            f'got {wrong[0]!r}'
        )
    host = f'[{parts.hostname}]' if ':' in parts.hostname else parts.hostname
    return Address(f'{_SCHEMES[parts.scheme]}://{host}:{port}', ''.join(databases), name, place)


def _shown(place: str) -> str:
    """A place as messages show it: without what may be a password or a token."""
    scheme, _, rest = place.partition('://')
    return f'{scheme}://{re.split("[?#]", rest.rpartition("@")[2])[0]}'
