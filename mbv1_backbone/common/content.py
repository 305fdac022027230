"""Names of files that are known by their content, ``detector.onnx sha256:3f0a...``, and of which is which."""

from __future__ import annotations

import re

__all__ = ['content_name', 'same_content', 'short_name', 'split_name']

_NAMED = re.compile(r'(.*) sha256:([0-9a-f]{64})', re.DOTALL)
_SHOWN = 12  # digits of a hash, for people


def content_name(name: str, sha256: str) -> str:
    """A file's name with the hash of its content, 64 hexadecimal digits."""
    return f'{name} sha256:{sha256}'


def split_name(text: str) -> tuple[str, str | None]:
    """The name and the hash of ``content_name``; of another text itself, and None."""
    found = _NAMED.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def same_content(a: str, b: str) -> bool:
    """Whether two texts name the same file: by content, whatever it is called.

    Earlier versions wrote names alone; such a one is compared by its name.

    Example:
        >>> same_content(content_name('a.onnx', '0' * 64), content_name('b.onnx', '0' * 64))
        True
        >>> same_content('a.onnx', content_name('a.onnx', '0' * 64))
        True
        >>> same_content(content_name('a.onnx', '1' * 64), content_name('a.onnx', '0' * 64))
        False
    """
    (name, sha256), (other, its) = split_name(a), split_name(b)
    return name == other if sha256 is None or its is None else sha256 == its


def short_name(text: str) -> str:
    """The same for people: the first digits of the hash will do."""
    name, sha256 = split_name(text)
    return name if sha256 is None else f'{name} (SHA-256 {sha256[:_SHOWN]})'
