"""What a gallery's embeddings were made with: what it is tied to, and what people call that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mbv1_backbone.common.content import same_content, short_name
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.store import Store

__all__ = ['KEY', 'check_made_with', 'described', 'difference', 'read_made_with', 'same_identity']

KEY = 'made_with'  # of meta
_SHOWN = 16  # digits of a model's hash, for people


def read_made_with(store: Store) -> dict[str, Any]:
    """What people call a gallery's model and its parts; empty of one that earlier versions made."""
    with store.reading() as connection:
        if connection.execute('SELECT 1 FROM meta WHERE key = ?', (KEY,)).fetchone() is None:
            return {}
        return dict(schema.get_meta(connection, KEY))


def check_made_with(made_with: Any) -> dict[str, Any]:
    """What people call a model and its parts, as a gallery keeps it.

    Raises:
        InputError: If it is not a dict that JSON can hold.
    """
    try:
        if not isinstance(made_with, Mapping) or not all(isinstance(key, str) for key in made_with):
            raise TypeError('it must be a dict whose keys are text')
        json.dumps(dict(made_with), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f'made_with must be what JSON can hold, got {made_with!r:.60}: {error}') from error
    return dict(made_with)


def same_identity(a: Any, b: Any) -> bool:
    """Whether two galleries, or parts of what they are tied to, are the same.

    'gray' was spelt 'grey' in early galleries, and files of which only the name was known are known by it.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_identity(a[key], b[key]) for key in a)
    if isinstance(a, str) and isinstance(b, str):
        return ('gray' in (a, b) and 'grey' in (a, b)) or same_content(a, b)
    return bool(a == b)


def difference(preprocessing: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Of two preprocessings what differs in each, in words."""
    keys = [
        key
        for key in {**preprocessing, **other}
        if key not in preprocessing or key not in other or not same_identity(preprocessing[key], other[key])
    ]
    return _words(preprocessing, keys), _words(other, keys)


def described(identity: Mapping[str, Any], made_with: Mapping[str, Any]) -> str:
    """A gallery's model and how its images are prepared, in one line.

    Args:
        identity: ``model`` and ``preprocessing``, as a gallery's ``model_identity`` has them.
        made_with: What people call them.
    """
    name = shown(str(made_with.get('model') or 'unknown name'))
    parts = [f'{name}, hash {identity["model"][:_SHOWN]}']
    preprocessing = identity['preprocessing']
    if preprocessing:
        parts.append(_words(preprocessing, preprocessing))
    said = {'model', *(key for key, value in made_with.items() if value in (None, preprocessing.get('face')))}
    parts += [f'{key} {shown(short_name(str(value)))}' for key, value in made_with.items() if key not in said]
    return '; '.join(parts)


def _words(values: Mapping[str, Any], keys: Any) -> str:
    said = (f'{key} {short_name(str(values[key]))}' for key in keys if key in values)
    return ', '.join(said) or 'nothing'
