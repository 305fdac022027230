"""Metadata that can be asked for: typed values, and conditions on them.

Every top-level key of an entry's metadata, but its thumbnail, is a row of the table ``attributes``. Values
keep their type: ``None``, ``True``, ``1``, ``1.0`` and ``'1'`` are five different values. Order is known
among numbers (whole and real ones together) and among texts (by code point); lists and dicts are only equal
or not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.records import THUMBNAIL

__all__ = [
    'KINDS',
    'MAX_CONDITIONS',
    'MAX_METADATA',
    'OPERATORS',
    'Condition',
    'Where',
    'attributes_of',
    'check_conditions',
    'metadata_json',
    'sql_of',
    'typed',
    'value_of',
]

MAX_METADATA = 65536  # characters of an entry's metadata as JSON
MAX_CONDITIONS = 500  # in one question; SQLite's expressions may be some thousand terms deep
_ORDER = ('<', '<=', '>', '>=')
_PRESENCE = ('exists', 'missing')
OPERATORS = ('=', '!=', *_ORDER, 'in', *_PRESENCE)
_KINDS = {type(None): 'null', bool: 'bool', int: 'int', float: 'real', str: 'text'}
KINDS = (*_KINDS.values(), 'json')
_LIMIT = 2**63
_WORD = re.compile('-?(0|[1-9][0-9]{0,300})([.][0-9]{1,300})?([eE][+-]?[0-9]{1,9})?')
_CONSTANTS = {'null': None} | {  # spreadsheets write TRUE, Python writes True
    spelt: value for value in (True, False) for spelt in (str(value), str(value).lower(), str(value).upper())
}


@dataclass(frozen=True)
class Condition:
    """A condition on a metadata value, e.g. ``Condition('year', '>=', 2000)``.

    Attributes:
        key: Of the metadata.
        operator: ``=``, ``!=`` (the key is there with another value), ``<``, ``<=``, ``>``, ``>=``, ``in``
            (a list of values), ``exists`` or ``missing`` (which take no value).
        value: To compare with.
    """

    key: str
    operator: str
    value: Any = None


Where = Mapping[str, Any] | Sequence[Condition]


def value_of(text: str) -> Any:
    """What a text says as metadata: JSON's numbers, ``true``, ``false`` and ``null``, else the text itself.

    ``TRUE`` and ``True`` are ``true``, as spreadsheets and Python write it.

    Example:
        >>> [value_of(text) for text in ('2001', '.5', '007', 'true', 'red')]
        [2001, '.5', '007', True, 'red']
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if not _WORD.fullmatch(text):
        return text
    value = json.loads(text)
    return text if isinstance(value, float) and not math.isfinite(value) else value


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as it is stored.

    Raises:
        InputError: If it is not what JSON can hold, or too much.
    """
    try:
        if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
            raise TypeError('it must be a dict whose keys are text')
        text = json.dumps(
            dict(metadata), default=_number, ensure_ascii=False, sort_keys=True, allow_nan=False
        )
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f'metadata must be what JSON can hold, got {metadata!r:.60}: {error}') from error
    if len(text) > MAX_METADATA:
        raise InputError(f'metadata must be at most {MAX_METADATA} characters as JSON, got {len(text)}')
    return text


def typed(value: Any) -> tuple[str, Any]:
    """The kind of a JSON value, and what SQLite stores and compares of it."""
    kind = _KINDS.get(type(value))
    if kind is None or (kind == 'int' and not -_LIMIT <= value < _LIMIT):
        return 'json', json.dumps(value, ensure_ascii=False, sort_keys=True)
    return kind, 0 if value is None else int(value) if kind == 'bool' else value


def attributes_of(metadata_text: str) -> list[tuple[str, str, Any]]:
    """Rows (key, kind, value) of stored metadata; nobody asks for a thumbnail by its value."""
    values = json.loads(metadata_text)
    return [(key, *typed(value)) for key, value in values.items() if key != THUMBNAIL]


def check_conditions(where: Where | None) -> tuple[Condition, ...]:
    """Conditions as they are meant: a mapping asks for equal values.

    Raises:
        InputError: If one is not a condition, or its value cannot be compared.
    """
    if where is None:
        return ()
    if isinstance(where, Mapping):
        conditions: Sequence[Any] = [Condition(key, '=', value) for key, value in where.items()]
    elif isinstance(where, (str, bytes)) or not isinstance(where, Sequence):
        raise InputError(f'metadata must be a dict or a list of conditions, got {where!r:.60}')
    else:
        conditions = where
    if len(conditions) > MAX_CONDITIONS:
        raise InputError(
            f'at most {MAX_CONDITIONS} conditions can be asked for at once, got {len(conditions)}'
        )
    return tuple(map(_checked, conditions))


def _checked(condition: Any) -> Condition:
    """The condition, its value as JSON has it: an enum's, NumPy's and the like are what they hold."""
    if not isinstance(condition, Condition):
        raise InputError(f'metadata must be asked for by conditions, got {condition!r:.60}')
    if not isinstance(condition.key, str):
        raise InputError(f'the key of a condition must be text, got {condition.key!r:.60}')
    if condition.operator not in OPERATORS:
        raise InputError(f'an operator is one of {", ".join(OPERATORS)}, got {condition.operator!r:.30}')
    value = condition.value
    if condition.operator in _PRESENCE and value is not None:
        raise InputError(
            f'{condition.key!r:.40} {condition.operator}: it takes no value, got {value!r:.60}; '
            'exists and missing are the two'
        )
    if condition.operator == 'in':
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise InputError(f'{condition.key!r:.40} in: a list of values is needed, got {value!r:.60}')
        value = list(value)
    [value] = json.loads(metadata_json({condition.key: value})).values()
    if condition.operator in _ORDER and typed(value)[0] not in ('int', 'real', 'text'):
        raise InputError(
            f'{condition.key!r:.40} {condition.operator}: only numbers and text have an order, '
            f'got {value!r:.60}'
        )
    return replace(condition, value=value)


def _number(value: Any) -> Any:
    """What JSON holds of one of NumPy's numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f'Object of type {type(value).__name__} is not JSON serializable')


def sql_of(conditions: Sequence[Condition]) -> tuple[list[str], list[Any]]:
    """SQL conditions on the table ``entries`` that say the same, and their values."""
    clauses: list[str] = []
    values: list[Any] = []
    for condition in conditions:
        comparison, more = _comparison(condition)
        negation = 'NOT ' if condition.operator == 'missing' else ''
        clauses.append(f'id {negation}IN (SELECT entry FROM attributes WHERE key = ?{comparison})')
        values += [condition.key, *more]
    return clauses, values


def _comparison(condition: Condition) -> tuple[str, list[Any]]:
    operator, value = condition.operator, condition.value
    if operator in _PRESENCE:
        return '', []
    if operator in _ORDER:
        kind, stored = typed(value)
        kinds = "kind = 'text'" if kind == 'text' else "kind IN ('int', 'real')"
        return f' AND {kinds} AND value {operator} ?', [stored]
    if operator == 'in':
        by_kind: dict[str, list[Any]] = {}
        for kind, stored in map(typed, value):
            by_kind.setdefault(kind, []).append(stored)
        either = [
            f"kind = '{kind}' AND value IN ({', '.join('?' * len(of))})" for kind, of in by_kind.items()
        ]
        return f' AND ({" OR ".join(either) or 0})', [stored for of in by_kind.values() for stored in of]
    if operator == '!=':
        return ' AND NOT (kind = ? AND value = ?)', list(typed(value))
    return ' AND kind = ? AND value = ?', list(typed(value))
