"""Photographs that are there twice: among those to train on and those to test with, or in two classes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.weights.cache import sha256_of

__all__ = ['Labelled', 'check_no_links', 'same_bytes']

Labelled = tuple[Path, Hashable]  # a photograph and its class


def check_no_links(parts: Mapping[str, Sequence[Labelled]]) -> None:
    """Check that no photograph is there under two names, one a link to the other.

    Args:
        parts: Photographs by what they are for.

    Raises:
        InputError: If two are one file.
    """
    first: dict[str, Path] = {}
    for photos in parts.values():
        for path, _ in photos:
            other = first.setdefault(os.path.realpath(path), path)
            if other != path:
                raise InputError(
                    f'{shown(path)} is {shown(other)}, one file by a link: take one of them away'
                )


def same_bytes(parts: Mapping[str, Sequence[Labelled]]) -> str:
    """One line on photographs that another part or another class has, too, byte by byte; empty without any.

    Args:
        parts: Photographs by what they are for.
    """
    first: dict[str, tuple[Path, str, Hashable]] = {}
    again: list[tuple[Path, Path]] = []
    for path, part, label in _of_equal_length(parts):
        other, *kind = first.setdefault(sha256_of(path), (path, part, label))
        if kind != [part, label]:
            again.append((path, other))
    if not again:
        return ''
    path, other = again[0]
    return (
        f'photographs that are there a second time, byte by byte, in another part or class: {len(again)}; '
        f'the first: {shown(path)}, as {shown(other)}'
    )


def _of_equal_length(parts: Mapping[str, Sequence[Labelled]]) -> list[tuple[Path, str, Hashable]]:
    """Those that another has the length of: only these need be read."""
    by_length: dict[int, list[tuple[Path, str, Hashable]]] = defaultdict(list)
    for part, photos in parts.items():
        for path, label in photos:
            by_length[path.stat().st_size].append((path, part, label))
    return [entry for entries in by_length.values() if len(entries) > 1 for entry in entries]
