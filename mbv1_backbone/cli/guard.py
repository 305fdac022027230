"""The end of a command: its exit code, and its last line where it failed.

| code | meaning |
|---|---|
| 0 | done |
| 1 | a defect of this project, with its traceback |
| 2 | refused: input, output, result out of tolerance, missing package, full disk; one line says why |
| 130 | interrupted (Ctrl-C) |
| 141 | the reader of the output has gone (``| head -1``) |
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mbv1_backbone.common.blame import is_of_config
from mbv1_backbone.common.errors import (
    InputError,
    Mbv1Error,
    NoSpaceError,
    NotInstalledError,
    is_full,
    one_line,
    reason_of,
)

__all__ = ['guarded']

_AGAIN = 0.05  # seconds after which an interruption that was dropped is made again

DONE, DEFECT, REFUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
# What the machine, not the code, is to blame for.
_OF_THE_MACHINE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE),
    errno.EFBIG,  # `ulimit -f`
)
_OF_A_NAME = (errno.ENAMETOOLONG, errno.ELOOP)  # that the user gave, or a file of the user's holds


def guarded(work: Callable[[], None], given: Sequence[str] = ()) -> int:
    """Do the work of a command, and say in one line why it failed, where that is no defect of ours.

    With ``MBV1_DEBUG=1`` in the environment the traceback comes before the line.

    Args:
        work: What is done.
        given: Arguments of the command: what the system says about a file that they name, or about one in a
            folder that they name, is the user's to mend.

    Returns:
        The exit code.
    """
    _mend_streams()
    try:
        with _hearing_interrupts():
            work()
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say('interrupted')
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            _discard_output()
            return PIPE_CLOSED
        refusal = _refusal(error, given)
        if refusal is None:
            raise
        if os.environ.get('MBV1_DEBUG', '') not in ('', '0'):
            traceback.print_exc()
        _say(f'error: {one_line(refusal)}')
        return REFUSED
    return DONE


def _mend_streams() -> None:
    """Let nothing that is printed be an error, or land elsewhere than it should.

    What was closed (``>&-``) leads nowhere: else the next file that is opened would take its number, and get
    what libraries print. Text that the stream's encoding cannot hold is escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if stream is None:
            stream = os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w', encoding='utf-8')
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


@contextmanager
def _hearing_interrupts() -> Iterator[None]:
    """Let one Ctrl-C be enough.

    Python drops what is raised in a finaliser or in a callback of a weak reference, ``KeyboardInterrupt``
    among it: it writes "Exception ignored in ...", and the work goes on. Here the signal is then sent again.
    """
    usual = sys.unraisablehook
    again: list[threading.Timer] = []

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            usual(dropped)
            return
        timer = threading.Timer(_AGAIN, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.daemon = True
        again.append(timer)
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for timer in again:
            timer.cancel()


def _refusal(error: Exception, given: Sequence[str]) -> Mbv1Error | None:
    """The error of our family that another one amounts to; None for a defect."""
    if isinstance(error, Mbv1Error):
        return error
    if is_full(error):
        return NoSpaceError(str(error))
    if isinstance(error, OSError) and (
        error.errno in (*_OF_THE_MACHINE, *_OF_A_NAME) or _is_given(error.filename, given)
    ):
        return InputError(str(error))
    if is_of_config(error):
        return InputError(f'config: {reason_of(error)}')
    if (
        isinstance(error, ModuleNotFoundError)
        and (error.name or 'mbv1_backbone').split('.')[0] != 'mbv1_backbone'
    ):
        return NotInstalledError(f'{error.name} is not installed: pip install "mbv1-backbone[all]"')
    return None


def _is_given(file: object, given: Sequence[str]) -> bool:
    """Whether a file is one that the arguments name, or lies in a folder of theirs."""
    if not isinstance(file, (str, os.PathLike)):
        return False
    names = [name for word in given for name in (word, word.partition('=')[2]) if name]
    return any(Path(file).absolute().is_relative_to(Path(name).absolute()) for name in names)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watch.poll(0))
    except (OSError, ValueError):
        return False


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
