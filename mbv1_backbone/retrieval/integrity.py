"""Whether a database is a gallery's, and whole."""

from __future__ import annotations

from typing import Any

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.retrieval import schema
from mbv1_backbone.retrieval.conditions import attributes_of
from mbv1_backbone.retrieval.connections import DAMAGED_PAGE
from mbv1_backbone.retrieval.records import THUMBNAIL
from mbv1_backbone.retrieval.store import Store

__all__ = ['attribute_problems', 'check_integrity', 'check_tables']


def check_tables(store: Store) -> None:
    """Check that the file is a gallery's, of this format, with nothing else in it.

    Raises:
        InputError: If it is not.
    """
    with store.reading() as connection:
        if schema.tables(connection) != set(schema.SCHEMA):
            raise InputError(f'{store.path}: not a gallery: its tables are not those of one')
    if store.meta('format') != schema.FORMAT:
        raise InputError(f'{store.path}: format {store.meta("format")}, this version knows {schema.FORMAT}')


def check_integrity(store: Store) -> None:
    """Check the whole file: SQLite's own structures, and that they agree with each other.

    Raises:
        DamagedFileError: If something is wrong; the message is the first thing.
    """
    with store.reading() as connection:
        found = connection.execute('PRAGMA integrity_check(1)').fetchone()[0]
        if found != 'ok':
            said = ' '.join(str(found).split())
            raise DamagedFileError(f'{store.path}: damaged: {said:.200}; {DAMAGED_PAGE}')
        rows, people = (
            connection.execute(f'SELECT {what}').fetchone()[0]
            for what in ('count(*) FROM entries', 'coalesce(sum(entries), 0) FROM people')
        )
        if not rows == people == schema.get_meta(connection, 'count'):
            raise DamagedFileError(f'{store.path}: damaged: {rows} entries are there, {people} are counted')


def attribute_problems(store: Store) -> list[str]:
    """Entries whose metadata cannot be asked for as they should, one line each."""
    problems = []
    with store.reading() as connection:
        sql = 'SELECT entry, key, kind, value FROM attributes WHERE key <> ? ORDER BY entry, key'
        rows = connection.execute(sql, (THUMBNAIL,))  # which versions that knew none may have written
        stored: dict[int, list[Any]] = {}
        for entry, *row in rows:
            stored.setdefault(entry, []).append(tuple(row))
        for entry_id, text in connection.execute('SELECT id, metadata FROM entries'):
            if sorted(attributes_of(text)) != sorted(stored.pop(entry_id, [])):
                problems.append(f'entry {entry_id}: its metadata and what is asked for differ')
    return problems + [f'attributes of entry {entry_id}, which is not there' for entry_id in stored]
