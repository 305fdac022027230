"""What a user or the machine is to blame for: a family of errors, each of which is one line.

An error outside the family is a defect of this project, and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mbv1_backbone.common.blame import failed_assertion, is_defect, misfits

__all__ = [
    'DamagedFileError',
    'InputError',
    'LockedError',
    'Mbv1Error',
    'NoSpaceError',
    'NotInstalledError',
    'UnavailableError',
    'is_full',
    'one_line',
    'reason_of',
    'user_errors',
]

# What libraries raise over a user's file. Our own code raises ValueError over a value that breaks a rule, and
# meets it in a file's content (int, bytes.decode): what a defect raises of it cannot be told from these.
_OF_INPUT = (ValueError, OSError, SyntaxError)
# What they raise over a config, which is code; a defect of ours raises the same. Our readers look before they
# take a key out of a user's file or config.
_OF_CODE = (TypeError, KeyError, AttributeError, NameError, AssertionError, ImportError)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Mbv1Error(Exception):
    """Anything that is not a defect of this project; the message is one line."""


class InputError(Mbv1Error, ValueError):
    """Input that breaks a rule; the message names the file or value and the rule."""


class DamagedFileError(InputError):
    """A file of the right kind whose content is broken: cut short, overwritten or changed."""


class LockedError(Mbv1Error):
    """Something that another process holds; waiting may help."""


class NoSpaceError(Mbv1Error, OSError):
    """A disk, or a user's share of it, that is full."""


class UnavailableError(Mbv1Error, ConnectionError):
    """A server that does not answer; waiting, or starting it, may help."""


class NotInstalledError(Mbv1Error, ImportError):
    """An optional package that is needed and not installed."""


def is_full(error: BaseException) -> bool:
    """Whether the system says that a disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def user_errors(subject: str, parsing: bool = False) -> Iterator[None]:
    """Turn what libraries raise while reading or building a user's input into an error about ``subject``.

    What is raised by this project's own code, and is of a kind that a defect raises (``TypeError``,
    ``KeyError``, ``AttributeError``, ``NameError``, ``AssertionError``, ``ImportError``), passes as it is.

    Args:
        subject: File or value, as the message is to name it.
        parsing: Whether our own code takes a file's content apart in it, and nothing else is done: whatever
            is raised then is about the content.

    Raises:
        InputError: In place of an error of a library.
        NoSpaceError: In place of the system's.
    """
    try:
        yield
    except (Mbv1Error, BrokenPipeError):
        raise
    except (*_OF_INPUT, *_OF_CODE) as error:
        if isinstance(error, _OF_CODE) and not parsing and is_defect(error):
            raise
        reason = reason_of(error)
        kind = NoSpaceError if is_full(error) else InputError
        raise kind(reason if subject in reason else f'{subject}: {reason}') from error


def reason_of(error: BaseException) -> str:
    """Why a user's input is refused: the value that a class does not take, else what the error says."""
    misfit = '; '.join(misfits(error)) if isinstance(error, _OF_CODE) else ''
    if isinstance(error, AssertionError) and not misfit and not str(error):
        return failed_assertion(error)
    return misfit or one_line(error) or type(error).__name__


def one_line(error: BaseException) -> str:
    """The message; of an error from a data-loading worker, which carries a whole traceback, its last line."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    if not lines:
        return ''
    if 'DataLoader worker' not in lines[0]:
        return ' '.join(line.strip() for line in lines)
    name, colon, message = lines[-1].partition(': ')
    return message if colon and name.startswith('mbv1_backbone.') else lines[-1]
