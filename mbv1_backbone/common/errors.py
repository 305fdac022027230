"""A user's mistake, said in one line, with exit code 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What libraries raise over a user's file; the last two over a config, which is code.
_OF_INPUT = (
    ValueError,
    KeyError,
    TypeError,
    OSError,
    ImportError,
    AssertionError,
    SyntaxError,
    AttributeError,
    NameError,
)


class InputError(ValueError):
    """Input that breaks a rule; the message is one line that names the file or value and the rule."""


@contextmanager
def user_errors(subject: str) -> Iterator[None]:
    """Turn what libraries raise while reading a user's input into an ``InputError`` about ``subject``.

    For reading and building only: an error of the work itself should keep its traceback.
    """
    try:
        yield
    except InputError:
        raise
    except _OF_INPUT as error:
        reason = _one_line(error) or type(error).__name__
        raise InputError(reason if subject in reason else f'{subject}: {reason}') from error


def command_line(main: Callable[[], None]) -> Callable[[], int]:
    """Make ``main`` return an exit code: 2 after an ``InputError``, printed as one line."""

    @functools.wraps(main)
    def wrapped() -> int:
        try:
            main()
        except InputError as error:
            print(f'error: {_one_line(error)}', file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            return 130
        return 0

    return wrapped


def _one_line(error: BaseException) -> str:
    """The message; of an error from a data-loading worker, which carries a whole traceback, its last line."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    if not lines:
        return ''
    if 'DataLoader worker' not in lines[0]:
        return ' '.join(line.strip() for line in lines)
    return lines[-1].removeprefix(f'{InputError.__module__}.{InputError.__qualname__}: ')
