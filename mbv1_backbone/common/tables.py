"""Tables as people write them: CSV files of spreadsheets and editors, read or refused with line numbers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode

__all__ = ['Table', 'parse_number', 'read_table']

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


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str], aliases: Mapping[str, str] | None = None
) -> Table:
    """A CSV file that has at least these columns; a row that cannot be used ends nothing.

    Cells are separated by commas, semicolons, tabs or ``|``, whichever its first line has between these
    columns; their names may be in any case, and byte order marks are taken.

    Args:
        path: Of the file.
        columns: Names, in lower case.
        aliases: Other names of columns, in lower case -> the column; the column's own name comes first.

    Raises:
        InputError: If it cannot be read, or a column is missing.
    """
    known = {**(aliases or {}), **{name: name for name in columns}}
    lines = list(io.StringIO(_text(path)))
    start = int(bool(lines) and lines[0].lower().startswith('sep='))  # a line of Excel's
    first = lines[start] if start < len(lines) else ''
    separator = max(_SEPARATORS, key=lambda one: _count(first, one, known))
    names = _names(path, first, separator, columns, known)
    table = Table(tuple(names))
    start += 1
    while start < len(lines):
        used = _put_record(table, lines, start, names, columns, separator)
        start += used
    return table


def parse_number(text: str) -> float:
    """A number as every program writes it; what Python alone takes (``1_0``, full-width digits) is none.

    Raises:
        ValueError: If it is none. NaN and infinities are numbers.

    Example:
        >>> parse_number(' -1.5e1')
        -15.0
    """
    if '_' in text or not text.isascii():
        raise ValueError(f'not a number: {text!r:.40}')
    return float(text)


def _put_record(
    table: Table, lines: list[str], start: int, names: Sequence[str], columns: Sequence[str], separator: str
) -> int:
    """Read the row that begins at a line; how many lines it takes."""
    rest = (lines[place] for place in range(start, len(lines)))
    reader = csv.reader(rest, delimiter=separator, skipinitialspace=separator != '\t')
    number = start + 1
    try:
        cells = [cell.strip() for cell in next(reader)]
    except csv.Error as error:
        table.problems[number] = str(error)
        return 1
    used = reader.line_num
    if used > 1:
        short = any('\n' in cell for name, cell in zip(names, cells, strict=False) if name in columns)
        if short or ''.join(lines[start : start + used]).count('"') % 2:  # it has swallowed the next rows
            table.problems[number] = 'a quotation mark is not closed'
            return 1
    if any(cells):
        _put(table, number, names, cells, columns)
    return used


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
        text = decode(Path(path).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        hint = '; save it as UTF-8' if isinstance(error, UnicodeDecodeError) else ''
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'{path}: not a readable CSV file: {reason}{hint}') from error
    return io.StringIO(text, newline=None).read()


def _count(line: str, separator: str, known: Mapping[str, str]) -> int:
    """How many of the columns a first line has with this separator."""
    return len({known[name.lower()] for name in _split(line, separator) if name.lower() in known})


def _split(line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _names(
    path: str | os.PathLike[str],
    line: str,
    separator: str,
    columns: Sequence[str],
    known: Mapping[str, str],
) -> list[str]:
    found = _split(line, separator)
    own = {name.lower() for name in found} & set(columns)
    names = []
    for name in found:
        column = known.get(name.lower(), name)
        names.append(name if column in own and name.lower() != column else column)
    if missing := [name for name in columns if name not in names]:
        raise InputError(
            f'{path}: must have the columns {", ".join(columns)}; there is no {missing[0]} '
            f'in its first line, {line.strip()!r:.60}'
        )
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f'{path}: two columns are named {twice[0]}')
    return names
