"""Tables as people write them: CSV files of spreadsheets and editors, read or refused with line numbers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbv1_backbone.common.errors import InputError

_SEPARATORS = ',;\t|'


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file.

    Attributes:
        columns: Their names.
        rows: Line number -> column -> cell, without spaces at its ends; cells that a row lacks are not there.
        problems: Line number -> why the row cannot be used, in one line.
    """

    columns: tuple[str, ...]
    rows: dict[int, dict[str, str]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


def read_table(path: str | os.PathLike[str], columns: Sequence[str]) -> Table:
    """A CSV file that has at least these columns; a row that cannot be used ends nothing.

    Cells are separated by commas, semicolons, tabs or ``|``, whichever its first line has between these
    columns; their names may be in any case, and byte order marks are taken.

    Raises:
        InputError: If it cannot be read, or a column is missing.
    """
    lines = iter(io.StringIO(_text(path)))
    first = next(lines, '')
    if first.lower().startswith('sep='):  # a line of Excel's
        first = next(lines, '')
        skipped = 1
    else:
        skipped = 0
    separator = max(_SEPARATORS, key=lambda one: _count(first, one, columns))
    names = _names(path, first, separator, columns)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != '\t')
    table = Table(tuple(names))
    while True:
        number = reader.line_num + 2 + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return table
        except csv.Error as error:  # the reader goes on with the next line
            table.problems[number] = str(error)
            continue
        cells = [cell.strip() for cell in cells]
        if any(cells):
            _put(table, number, names, cells, columns)


def _put(
    table: Table, number: int, names: Sequence[str], cells: Sequence[str], columns: Sequence[str]
) -> None:
    row = {name: cell for name, cell in zip(names, cells, strict=False) if name}
    if any(cells[len(names) :]) or any(cell for name, cell in zip(names, cells, strict=False) if not name):
        table.problems[number] = (
            f'has {len(cells)} cells, the first line names {len([n for n in names if n])}'
        )
    elif empty := [name for name in columns if not row.get(name)]:
        table.problems[number] = f'{empty[0]} is empty'
    else:
        table.rows[number] = row


def _text(path: str | os.PathLike[str]) -> str:
    try:
        content = Path(path).read_bytes()
        wide = content.startswith((b'\xff\xfe', b'\xfe\xff'))  # "Unicode text" of spreadsheets
        text = content.decode('utf-16' if wide else 'utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        hint = '; save it as UTF-8' if isinstance(error, UnicodeDecodeError) else ''
        raise InputError(f'{path}: not a readable CSV file: {error}{hint}') from error
    return io.StringIO(text, newline=None).read()


def _count(line: str, separator: str, columns: Sequence[str]) -> int:
    """How many of the columns a first line has with this separator."""
    return len({name.lower() for name in _split(line, separator)} & set(columns))


def _split(line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _names(path: str | os.PathLike[str], line: str, separator: str, columns: Sequence[str]) -> list[str]:
    names = [name.lower() if name.lower() in columns else name for name in _split(line, separator)]
    if missing := [name for name in columns if name not in names]:
        raise InputError(
            f'{path}: must have the columns {", ".join(columns)}; there is no {missing[0]} '
            f'in its first line, {line.strip()!r:.60}'
        )
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f'{path}: two columns are named {twice[0]}')
    return names
