"""Options of verbs that take films and cameras, and which of their words are such."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from glob import has_magic, iglob
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.video.names import STDIN, is_file, is_film, shown_source

if TYPE_CHECKING:
    from mbv1_backbone.video.frames import FrameSource

__all__ = ['add_counting', 'add_film_options', 'films_of', 'is_about_films', 'open_given', 'refuse_films']

_POLICIES = ('auto', 'all', 'newest')
_OF_FILMS = ('every', 'num', 'frames', 'fps', 'line', 'zone', 'no_tracks')


def add_film_options(parser: argparse.ArgumentParser) -> None:
    """``--every``, ``--num``, ``--frames`` and ``--fps``."""
    parser.add_argument(
        '--every', type=options.at_least(1), metavar='N', help='of a film or camera: only every N-th frame'
    )
    parser.add_argument(
        '--num', type=options.at_least(1), metavar='N', help='of a film or camera: N frames at most'
    )
    parser.add_argument(
        '--frames',
        choices=_POLICIES,
        help='all frames, or only the newest when there is time for another (default: the newest of cameras '
        'and of addresses without an end, else all)',
    )
    parser.add_argument(
        '--fps', type=options.within(0.1, 1000), help='of a stream of JPEG files, which does not say it (25)'
    )


def add_counting(parser: argparse.ArgumentParser) -> None:
    """``--no-tracks``, ``--line`` and ``--zone``."""
    parser.add_argument(
        '--no-tracks', action='store_true', help='of a film or camera: follow nothing from frame to frame'
    )
    parser.add_argument(
        '--line',
        action='append',
        type=_shape('Line'),
        metavar='X1,Y1,X2,Y2',
        help='count what crosses this line, in pixels; may be repeated',
    )
    parser.add_argument(
        '--zone',
        action='append',
        type=_shape('Zone'),
        metavar='X1,Y1,X2,Y2,X3,Y3,...',
        help='count what is in this polygon, in pixels; may be repeated',
    )


def is_about_films(args: argparse.Namespace, words: Sequence[str]) -> bool:
    """Whether a verb that takes images is given films or cameras.

    Args:
        args: Parsed arguments.
        words: Of which some are images, films or cameras, and one may be a checkpoint.

    Raises:
        InputError: If it is given options of films, and none.
    """
    if any(is_film(word) for word in words):
        return True
    for name in _OF_FILMS:
        if getattr(args, name, None):
            raise InputError(f'--{name.replace("_", "-")} is about films and cameras, and none is given')
    return False


def refuse_films(words: Sequence[str]) -> None:
    """Say which verb takes films, of one that looks at the faces of photographs.

    Raises:
        InputError: If one of the words is a film or camera.
    """
    if film := next((word for word in words if is_film(word)), None):
        raise InputError(
            f'{shown_source(film)}: mbv1 faces track takes films and cameras, this verb photographs'
        )


def films_of(words: Sequence[str]) -> list[str]:
    """The films or the one camera that are named; globs of films are resolved.

    Raises:
        InputError: If there are none, or images, or several of which one has no end.
    """
    found: list[str] = []
    for word in words:
        if not is_film(word):
            raise InputError(f'{word}: is no film or camera, and these cannot be given with images')
        if has_magic(word) and is_file(word):
            matches = sorted(iglob(word, recursive=True)) or [word]
            found += [match for match in matches if match not in found]
        elif word not in found:
            found.append(word)
    if len(found) > 1 and (live := next((one for one in found if not is_file(one)), None)):
        raise InputError(f'{shown_source(live)}: is given with {len(found) - 1} more, and may have no end')
    return found


def open_given(args: argparse.Namespace, film: str) -> FrameSource:
    """Open a film or camera as the options say.

    Raises:
        InputError: If it cannot be opened, or ``--fps`` is given for one that says its rate itself.
    """
    from mbv1_backbone.video.sources import open_source

    if args.fps and film != STDIN:
        raise InputError(
            f'--fps is of JPEG files on standard input (-); {shown_source(film)} has a rate of its own'
        )
    return open_source(film, args.every or 1, args.frames or 'auto', args.fps, args.num)


def _shape(kind: str) -> Any:
    """The type of an option: a line or zone."""

    def parse(text: str) -> Any:
        from mbv1_backbone.video import counting

        try:
            return getattr(counting, kind).parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parse.__name__ = kind.lower()
    return parse
