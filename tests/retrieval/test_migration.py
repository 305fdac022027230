"""Galleries that versions with format 1 have made."""

import hashlib
import json
import multiprocessing
import random
import shutil
import sqlite3
import time

import faiss
import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.maintenance import repair, verify

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, file TEXT NOT NULL, \
sha256 TEXT NOT NULL UNIQUE, added REAL NOT NULL, metadata TEXT NOT NULL, vector BLOB NOT NULL, \
change INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE INDEX by_identity ON entries (identity);
CREATE INDEX by_file ON entries (file);
CREATE INDEX by_change ON entries (change);
CREATE TABLE removals (id INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX removals_by_change ON removals (change);
"""


def blake(content):
    return hashlib.blake2b(content, digest_size=16).digest()


def old_gallery(folder, count=10):
    """A gallery as format 1 has it: two images a person, the third entry removed, the last id higher."""
    folder.mkdir()
    connection = sqlite3.connect(folder / 'gallery.sqlite', isolation_level=None)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.executescript(SCHEMA)
    vectors, names, files, hashes = people(count)
    unit = normalised(vectors).astype('<f4')
    meta = dict(model='m', preprocessing={}, dim=DIM, metric='cosine', factory=None, bytes_per_vector=None)
    meta |= dict(calibration=dict(threshold=0.25), tuning=None)
    meta |= dict(format=1, change=2, forgotten=0, count=2 * count - 1)
    connection.execute('BEGIN')
    for key, value in meta.items():
        text = json.dumps(value)
        connection.execute('INSERT INTO meta VALUES (?, ?, ?)', (key, text, blake(f'{key} {text}'.encode())))
    for i in range(2 * count):
        if i != 2:
            metadata = json.dumps({'n': i, 'é': 'ü'}, ensure_ascii=False, sort_keys=True)
            row = (i + 1, names[i], files[i], hashes[i], 1000.5 + i, metadata)
            text = json.dumps([*row[:4], row[4].hex(), metadata])
            digest = blake(text.encode() + unit[i].tobytes())
            connection.execute(
                'INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', (*row, unit[i].tobytes(), 1, digest)
            )
    connection.execute('INSERT INTO removals VALUES (3, 2)')
    connection.execute("UPDATE sqlite_sequence SET seq = 50 WHERE name = 'entries'")
    connection.execute('COMMIT')
    connection.close()
    (folder / 'manifest.json').write_text('{"format": 1, "model": "m"}')
    (folder / 'index-1-0a1b2c3d.faiss').write_text('an index of format 1')
    return vectors, names, files, hashes, unit


def check(gallery, vectors, names, files, hashes, unit):
    kept = [i for i in range(len(names)) if i != 2]
    entries = list(gallery.entries_with_vectors())
    assert [e.id for e, _ in entries] == [i + 1 for i in kept]
    for i, (entry, vector) in zip(kept, entries, strict=True):
        assert (entry.identity, entry.file, entry.sha256) == (names[i], files[i], hashes[i])
        assert (entry.added, entry.metadata) == (1000.5 + i, {'n': i, 'é': 'ü'})
        assert (entry.box, entry.landmarks, entry.quality) == (None, None, None)
        np.testing.assert_array_equal(vector, unit[i])
    assert [e.id for e in gallery.entries(metadata={'n': 5})] == [6]
    assert gallery.calibration == dict(threshold=0.25)
    assert gallery.search(vectors[:1], k=1)[0][0].id == 1
    assert verify(gallery).problems == ()


def test_every_entry_is_kept(tmp_path):
    content = old_gallery(tmp_path / 'g')
    with Gallery(tmp_path / 'g') as gallery:
        gallery.save()
        check(gallery, *content)
        assert gallery.add(*people(1, seed=9)).ids == (51, 52)  # ids are never given twice
        gallery.remove([51, 52])
        assert not (tmp_path / 'g' / 'index-1-0a1b2c3d.faiss').exists()
    with Gallery(tmp_path / 'g') as gallery:
        check(gallery, *content)


def test_repair_moves_it_too(tmp_path):
    content = old_gallery(tmp_path / 'g')
    with repair(tmp_path / 'g') as gallery:
        check(gallery, *content)


def test_a_damaged_entry_stays_in_format_1(tmp_path):
    old_gallery(tmp_path / 'g')
    path = tmp_path / 'g' / 'gallery.sqlite'
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET identity = 'x' WHERE id = 5")
    connection.close()
    with pytest.raises(InputError, match='entry 5 is damaged; it stays in format 1'):
        Gallery(tmp_path / 'g')
    with sqlite3.connect(path) as connection:
        assert connection.execute('SELECT count(*) FROM entries').fetchone() == (19,)
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {'meta', 'entries', 'removals', 'sqlite_sequence'}


def test_reading_only_says_how(tmp_path):
    old_gallery(tmp_path / 'g')
    with pytest.raises(InputError, match='format 1: open it once where it can be written'):
        Gallery(tmp_path / 'g', read_only=True)


def open_it(folder):
    faiss.omp_set_num_threads(1)
    Gallery(folder).close()


@pytest.mark.slow
def test_a_kill_on_the_way_loses_nothing(tmp_path):
    content = old_gallery(tmp_path / 'old', count=300)
    generator, before, after = random.Random(0), 0, 0
    longest = 0.0
    for kill in range(25):
        folder = tmp_path / str(kill)
        shutil.copytree(tmp_path / 'old', folder)
        child = multiprocessing.get_context('fork').Process(target=open_it, args=(folder,))
        started = time.monotonic()
        child.start()
        if not kill:  # the first is left to its end: how long a migration takes here
            child.join()
            longest = time.monotonic() - started
        time.sleep(generator.uniform(0, longest) if kill else 0)
        child.kill()
        child.join()
        with sqlite3.connect(folder / 'gallery.sqlite') as connection:
            columns = [row[1] for row in connection.execute('PRAGMA table_info(entries)')]
        connection.close()
        before += 'box' not in columns
        after += 'box' in columns
        if kill:  # as fast as the machine is just now: kills come on both sides
            longest *= 0.8 if 'box' in columns else 1.25
        with Gallery(folder) as gallery:
            gallery.save()
            check(gallery, *content)
        shutil.rmtree(folder)
    assert min(before, after) >= 3
    assert before + after == 25
