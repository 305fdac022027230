"""Conditions as Milvus' expressions. They hold digests and numbers; a text that is compared is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.conditions import Condition, typed
from mbv1_backbone.retrieval.milvus.fields import order_key, token, value_token

__all__ = ['NOTHING', 'expression_of', 'kind_expression', 'of_files', 'of_people']

NOTHING = 'id < 0'  # ids are not negative


def of_people(names: Sequence[str]) -> str:
    """Entries of some people."""
    return _among('person', [token('identity', name) for name in names])


def of_files(hashes: Sequence[str]) -> str:
    """Entries of image files, by checked SHA-256."""
    return _among('sha256', hashes)


def _among(field: str, digests: Sequence[str]) -> str:
    return f'{field} in [{_listed(digests)}]' if digests else NOTHING


def _listed(digests: Sequence[str]) -> str:
    return ', '.join(f'"{int(digest, 16):0{len(digest)}x}"' for digest in digests)  # digits, and nothing else


def expression_of(identity: Sequence[str] | None, file: str | None, conditions: Sequence[Condition]) -> str:
    """Milvus' filter of what a search or a listing asks for; empty where it asks for all.

    Args:
        identity: Names of people; None for all.
        file: Where the image came from; None for all.
        conditions: Checked.

    Raises:
        InputError: If a text is compared that cannot be written in an expression.
    """
    parts = [] if identity is None else [of_people(identity)]
    if file is not None:
        parts.append(_among('place', [token('file', file)]))
    parts += map(_comparison, conditions)
    return ' and '.join(f'({part})' for part in parts)


def kind_expression(key: str, kind: str) -> str:
    """Entries whose metadata value of a key is of a kind."""
    return _has([token('key', key, kind)])


def _has(tokens: Sequence[str]) -> str:
    if not tokens:
        return NOTHING
    if len(tokens) == 1:
        return f'array_contains(attributes, {_listed(tokens)})'
    return f'array_contains_any(attributes, [{_listed(tokens)}])'


def _value_token(key: str, value: Any) -> str:
    return value_token(key, *typed(value))


def _comparison(condition: Condition) -> str:
    key, operator, value = condition.key, condition.operator, condition.value
    there = _has([token('key', key)])
    if operator == 'exists':
        return there
    if operator == 'missing':
        return f'not ({there})'
    if operator == '=':
        return _has([_value_token(key, value)])
    if operator == 'in':
        return _has([_value_token(key, one) for one in value])
    if operator == '!=':
        return f'({there}) and not ({_has([_value_token(key, value)])})'
    kinds = ['text'] if isinstance(value, str) else ['int', 'real']
    of_kind = _has([token('key', key, kind) for kind in kinds])
    return f'({of_kind}) and (ordered["{order_key(key)}"] {operator} {_literal(value)})'


def _literal(value: str | float) -> str:
    if not isinstance(value, str):
        return repr(value)
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise InputError(f'Milvus compares no text with control characters, got {value!r:.60}')
    escaped = value.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'
