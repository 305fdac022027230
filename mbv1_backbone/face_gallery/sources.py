"""Images of people that are to be enrolled: from a folder of people or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.images import find_images
from mbv1_backbone.common.names import plain_name
from mbv1_backbone.common.tables import read_table
from mbv1_backbone.face.files import is_text, locate, scan_people
from mbv1_backbone.retrieval.checks import check_text
from mbv1_backbone.retrieval.conditions import metadata_json, value_of
from mbv1_backbone.retrieval.records import FOLDER

__all__ = ['FOLDER', 'Source', 'Sources', 'entry_path', 'inside', 'read_photographs', 'read_sources']


@dataclass(frozen=True)
class Source:
    """An image to enrol.

    Attributes:
        folder: Absolute.
        file: Relative to it.
        identity: Whose face it is; None where nobody has said, and every face of it is to be enrolled.
        metadata: Free values.
    """

    folder: Path
    file: str
    identity: str | None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.folder / self.file


class Sources(list[Source]):
    """Images to enrol, and what was left out beside them.

    Attributes:
        left_out: File, or line of a CSV file -> why it cannot be enrolled, in one line.
    """

    def __init__(self, sources: Iterable[Source] = (), left_out: Mapping[str, str] | None = None) -> None:
        super().__init__(sources)
        self.left_out = dict(left_out or {})


def read_sources(location: str | Path, root: str | Path | None = None) -> Sources:
    """Images of people: a folder ``FOLDER/PERSON/IMAGE``, or a CSV file with ``file`` and ``identity``.

    A name is taken without spaces at its ends and in Unicode's composed form (NFC), so that ``Ana`` and
    ``Ana `` are one person. What a gallery cannot take is left out, and said; it ends nothing.

    Args:
        location: Of either. A CSV file's further columns become metadata: numbers, ``true``, ``false`` and
            ``null`` as such, all else as text, empty cells not at all.
        root: Folder that the CSV file's paths start from; by default its own. A bare name that is not there
            is looked for in the folder of its person; backslashes are taken for slashes.

    Raises:
        InputError: If there is none that can be used.
    """
    location = Path(location)
    if not location.exists():
        raise InputError(f'{location}: no such folder or CSV file')
    sources = _of_folder(location.resolve()) if location.is_dir() else _of_table(location, root)
    if not sources:
        reason = next((f': {where}: {why}' for where, why in sources.left_out.items()), '')
        raise InputError(f'{location}: no images of people (FOLDER/PERSON/IMAGE, or a CSV file){reason}')
    return sources


def _of_folder(folder: Path) -> Sources:
    sources = Sources()
    for file, identity in scan_people(folder).items():
        with _left_out(sources, file):
            sources.append(_checked(Source(folder, file, plain_name(identity))))
    for name in sorted(os.listdir(folder)):
        if not is_text(name) and os.path.isdir(folder / name):
            sources.left_out[shown(name)] = 'the name of the folder is no valid text'
    return sources


def _of_table(location: Path, root: str | Path | None) -> Sources:
    folder = Path(root or location.parent).resolve()
    table = read_table(location, ('file', 'identity'))
    sources = Sources()
    sources.left_out = {f'line {number}': problem for number, problem in table.problems.items()}
    if FOLDER in table.columns:
        raise InputError(
            f'{location}: a column must not be named {FOLDER}: the gallery keeps the place there'
        )
    for number, row in table.rows.items():
        with _left_out(sources, f'line {number}'):
            sources.append(_checked(_listed(folder, row)))
    return sources


def read_photographs(location: str | Path) -> Sources:
    """Photographs of people whom nobody has named: a folder, and all folders in it.

    Args:
        location: Of the folder.

    Raises:
        InputError: If it is none, or there is no image in it.
    """
    folder = Path(location).resolve()
    if not folder.is_dir():
        raise InputError(f'{location}: no such folder of photographs')
    sources = Sources()
    for path in find_images([folder]):
        file = path.relative_to(folder).as_posix()
        with _left_out(sources, file):
            sources.append(_checked(Source(folder, file, None)))
    return sources


@contextmanager
def _left_out(sources: Sources, where: str) -> Iterator[None]:
    """What is wrong inside is noted, and ends nothing."""
    try:
        yield
    except InputError as error:
        sources.left_out[where] = str(error)


def _checked(source: Source) -> Source:
    """The same, if a gallery takes it."""
    check_text(source.file, 'file')
    if source.identity is not None:
        check_text(source.identity, 'identity')
    metadata_json({**source.metadata, FOLDER: str(source.folder)})
    return source


def _listed(folder: Path, row: Mapping[str, str]) -> Source:
    """A row of a CSV file."""
    file, identity = row['file'], row['identity']
    found = next((path for path in _candidates(folder, file, identity) if os.path.exists(path)), None)
    metadata = {key: value_of(cell) for key, cell in row.items() if cell and key not in ('file', 'identity')}
    if found is not None and found.is_relative_to(folder):
        file = found.relative_to(folder).as_posix()
    return Source(folder, file, plain_name(identity), metadata)


def _candidates(folder: Path, file: str, identity: str) -> list[Path]:
    """Where a file that is named in a CSV file may be."""
    places = []
    for name in dict.fromkeys((file, file.replace('\\', '/'))):
        inside(folder, name)
        places += [folder / name, locate(folder, name, identity)]
    for place in places:
        inside(folder, str(place))
    return places


def entry_path(folder: str, file: str) -> Path:
    """Where an entry's image lies.

    Raises:
        InputError: If the file's path leads out of its folder.
    """
    return inside(Path(folder), file)


def inside(folder: Path, file: str) -> Path:
    """The path of a file in a folder.

    Raises:
        InputError: If it leads out of the folder, or cannot be a path.
    """
    try:
        path = (folder / file).resolve()
    except (OSError, ValueError) as error:  # NUL, a loop of links
        raise InputError(f'{file!r:.200}: no path: {error}') from error
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f'{file}: leads out of {folder}')
    return path
