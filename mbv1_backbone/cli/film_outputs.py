"""What verbs write about a film or camera while it goes on: a drawn film, and a JSON line a frame."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.common.outputs import check_output_folder
from mbv1_backbone.common.pictures import picture_names
from mbv1_backbone.common.wording import amount
from mbv1_backbone.video.names import is_file, stem_of

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.video.frames import FrameSource
    from mbv1_backbone.video.writer import FilmWriter

__all__ = ['Written', 'each_film', 'names_of', 'write_film']


class _Seen(Protocol):
    """A frame of which something is said."""

    @property
    def number(self) -> int: ...

    @property
    def seconds(self) -> float: ...

    @property
    def image(self) -> np.ndarray: ...


Seen = TypeVar('Seen', bound=_Seen)


@dataclass
class Written:
    """What was written about a source.

    Attributes:
        frames: That were looked at.
        seconds: Time of the last one.
        codec: Of the film, in words; empty without a film.
        fault: Why the source ended too soon.
        interrupted: Whether Ctrl-C ended it.
    """

    frames: int = 0
    seconds: float = 0.0
    codec: str = ''
    fault: InputError | None = None
    interrupted: bool = False

    def line(self, place: Path, source: FrameSource, more: Sequence[str]) -> str:
        """What there is to say at the end, in one line.

        Args:
            place: Of the outputs, without a suffix.
            source: That they are about.
            more: Amounts of what was found.
        """
        parts = [f'{amount(self.frames, "frame")} to {self.seconds:.1f} s', *more]
        if source.dropped:
            parts.append(f'{amount(source.dropped, "frame")} dropped for newer ones')
        if source.unreadable:
            parts.append(f'{amount(source.unreadable, "frame")} unreadable and left out')
        if source.note:
            parts.append(source.note)
        if source.live and not self.interrupted and self.frames != source.length:
            parts.append('then no more frames came')
        if self.codec:
            parts.append(f'film in {self.codec}')
        if self.codec.startswith('MPEG-4'):
            parts[-1] += ", which browsers do not play: pip install 'mbv1-backbone[video]' brings H.264"
        return f'{place}: {", ".join(parts)}'


def names_of(sources: Sequence[str], out_dir: str, pictures: bool, more: Sequence[str] = ()) -> list[Path]:
    """Where each source's outputs go, without a suffix; checked.

    Args:
        sources: Films or cameras, as they are given.
        out_dir: Folder of the outputs.
        pictures: Whether films are drawn.
        more: Suffixes beside ``.jsonl``.

    Raises:
        InputError: If one cannot be written, or is read.
    """
    stems = [Path(name).stem for name in picture_names([Path(f'{stem_of(one)}.png') for one in sources])]
    suffixes = ('.jsonl', *more, *(['.mp4'] if pictures else []))
    files = [f'{stem}{suffix}' for stem in stems for suffix in suffixes]
    check_output_folder(out_dir, files, name='--out-dir', read=sources)
    return [Path(out_dir) / stem for stem in stems]


def write_film(
    source: FrameSource,
    stream: Iterable[Seen],
    place: Path,
    record: Callable[[Seen], dict[str, Any]],
    draw: Callable[[Seen], np.ndarray] | None,
) -> Written:
    """Go through what is found in a source, and write it as it comes.

    The first Ctrl-C, or SIGTERM, ends the source, and all that is written is whole.

    Args:
        source: That it is found in.
        stream: What is found, frame by frame.
        place: Of the outputs, without a suffix; they are begun with the first frame.
        record: Gives a frame's line, beside its number and time.
        draw: Gives a frame of the film, RGB uint8 (H, W, 3); None for no film.
    """
    from tqdm import tqdm

    written = Written()
    with _ending(source, written), ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=source.length, unit='frame', dynamic_ncols=True))
        lines: TextIO | None = None
        film: FilmWriter | None = None
        try:
            for seen in stream:
                drawn = draw(seen) if draw is not None else None
                if lines is None:
                    lines, film = _begin(stack, place, drawn, source, written)
                told = {'frame': seen.number, 'seconds': round(seen.seconds, 4), **record(seen)}
                lines.write(json.dumps(told) + '\n')
                if film is not None and drawn is not None:
                    film.write(drawn, seen.seconds)
                written.frames, written.seconds = written.frames + 1, seen.seconds
                bar.update()
        except InputError as error:  # also a frame that cannot be used: the others are whole
            written.fault = error
    if not written.frames and not written.interrupted:
        raise written.fault or InputError(f'{source.name}: holds no frame')
    return written


def each_film(
    films: Sequence[str],
    places: Sequence[Path],
    reopen: Callable[[str], FrameSource],
    first: FrameSource,
    work: Callable[[FrameSource, Path], tuple[Written, list[str]]],
) -> None:
    """Work on films one after the other, and print what is said of each; one that is broken stops none.

    Args:
        films: As they are given.
        places: Of their outputs, without a suffix.
        reopen: Opens a film.
        first: The first one, which is open.
        work: Of a film; what was written, and lines to print.

    Raises:
        DamagedFileError: If one of several could not be read to its end.
        InputError: If the only one cannot be used.
        KeyboardInterrupt: If Ctrl-C ended one that has an end.
    """
    faults = []
    for number, (film, place) in enumerate(zip(films, places, strict=True)):
        try:
            with reopen(film) if number else first as source:
                written, report = work(source, place)
        except InputError as error:
            if len(films) == 1:
                raise
            faults.append(str(error))
            continue
        print('\n'.join(report))
        if written.fault is not None:
            faults.append(f'{written.fault}; what was read is in {place}.*')
        if written.interrupted and (source.length is not None or is_file(film)):
            print('; '.join(faults), file=sys.stderr, end='\n' * bool(faults))
            raise KeyboardInterrupt
    if faults:
        raise DamagedFileError('; '.join(faults))


def _begin(
    stack: ExitStack, place: Path, drawn: np.ndarray | None, source: FrameSource, written: Written
) -> tuple[TextIO, FilmWriter | None]:
    """Open the outputs, to be closed when the source ends."""
    place.parent.mkdir(parents=True, exist_ok=True)
    film = None
    if drawn is not None:
        from mbv1_backbone.video.writer import FilmWriter

        film = FilmWriter(f'{place}.mp4', drawn.shape[1::-1], source.fps / source.every)
        stack.callback(film.close)
        written.codec = film.codec
    lines = Path(f'{place}.jsonl').open('w', encoding='utf-8', buffering=1)  # noqa: SIM115 - the stack's
    stack.callback(lines.close)
    return lines, film


@contextmanager
def _ending(source: FrameSource, written: Written) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end a source, and the second one be as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(*_: object) -> None:
        written.interrupted = True
        restore()
        source.stop()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler or signal.SIG_DFL)

    for number in former:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
        sys.stdout.flush()
