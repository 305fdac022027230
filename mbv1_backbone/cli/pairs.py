"""An option of pairs such as ``--where team=red 'year>=2000'``, which leaves what follows to the verb."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

__all__ = ['Pairs']

_PAIR = re.compile(r'[^=<>]*[=<>].*|.*\S\s+(in\s.*|exists|missing)\s*', re.DOTALL)
_COMPARED = re.compile('[=<>]')


class Pairs(argparse.Action):
    """An option of one or several words such as ``KEY=VALUE``; it ends where a word is none of them.

    So ``--where team=red photo.jpg`` leaves the photograph to the verb. The option may come several times;
    the words of a condition may stand apart: ``--where year exists``, ``--where team in red,blue``.
    """

    def named_each(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with the option's name before each of its pairs, each of these in one word."""
        left, given = list(arguments), []
        while left:
            given.append(left.pop(0))
            if given[-1] not in self.option_strings or not left:
                continue
            name = given[-1]
            count = _words(left)
            while True:
                given.append(' '.join(left[:count]))
                del left[:count]
                if not left or os.path.exists(left[0]) or left[0].startswith('-'):
                    break
                count = _words(left)
                if not _PAIR.fullmatch(' '.join(left[:count])):
                    break
                given.append(name)
        return given

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Append."""
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), values])


def _words(left: Sequence[str]) -> int:
    """How many words the first condition has that stands apart or in one."""
    if len(left) > 1 and not _COMPARED.search(left[0]):
        if left[1] in ('exists', 'missing'):
            return 2
        if left[1] == 'in' and len(left) > 2:
            return 3
    return 1
