"""Databases that are damaged, restored, swapped, or have lost their write-ahead log: told, never wrong."""

import os
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import DamagedFileError, InputError, LockedError
from mbv1_backbone.retrieval import Gallery, export
from mbv1_backbone.retrieval.maintenance import backup, repair, verify
from mbv1_backbone.retrieval.salvage import salvage


def made(folder, seed=0, count=10):
    gallery = Gallery.create(folder, DIM, 'm')
    vectors, names, files, hashes = people(count, seed)
    gallery.add(vectors, names, files, hashes, [dict(n=i) for i in range(len(names))])
    gallery.save()
    return gallery


def empty_page(path, index):
    """Two bytes of an index of SQLite's, which then say that it has no cells."""
    with sqlite3.connect(path) as connection:
        roots = dict(connection.execute('SELECT name, rootpage FROM sqlite_master'))
        size = connection.execute('PRAGMA page_size').fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    start = (roots[index] - 1) * size
    content[start + 3 : start + 5] = b'\0\0'
    path.write_bytes(content)


@pytest.mark.parametrize(
    'index', ['by_identity', 'by_file', 'sqlite_autoindex_entries_1', 'attributes_by_value', 'by_change']
)
def test_a_damaged_page_is_an_error_and_is_mended_by_repair(index, tmp_path):
    gallery = made(tmp_path / 'g')
    gallery.close()
    empty_page(tmp_path / 'g' / 'gallery.sqlite', index)
    with pytest.raises(DamagedFileError, match=r'gallery\.sqlite: damaged: .*repair'):
        Gallery(tmp_path / 'g')
    with repair(tmp_path / 'g') as mended:
        assert mended.remove(identity='person 0-3') == 2
        assert [e.id for e in mended.entries(metadata={'n': 4})] == [5]
        assert verify(mended).problems == ()


def test_damage_that_comes_while_it_is_open_is_no_silence(tmp_path):
    gallery = made(tmp_path / 'g')
    gallery.close()
    shutil.copytree(tmp_path / 'g', tmp_path / 'h')
    empty_page(tmp_path / 'h' / 'gallery.sqlite', 'by_identity')
    for name in ('-wal', '-shm'):
        (tmp_path / 'h' / f'gallery.sqlite{name}').unlink(missing_ok=True)
    (tmp_path / 'g').rename(tmp_path / 'old')
    with Gallery(tmp_path / 'old') as opened:  # trusted: then its file is damaged
        shutil.copyfile(tmp_path / 'h' / 'gallery.sqlite', tmp_path / 'old' / 'gallery.sqlite')
        with pytest.raises(DamagedFileError, match='0 entries of 2 are found by identity'):
            opened.remove(identity='person 0-3')
        assert any('damaged' in problem for problem in verify(opened).problems)


@pytest.mark.parametrize('how', ['gone', 'cut', 'flipped'])
def test_a_lost_log_is_told(how, tmp_path):
    gallery = made(tmp_path / 'g')
    gallery._store.connections.checkpoint()
    gallery._acknowledge()
    for number in range(3):
        gallery.add(*people(1, seed=100 + number))
    shutil.copytree(tmp_path / 'g', tmp_path / 'h')  # as a kill leaves it
    log = tmp_path / 'h' / 'gallery.sqlite-wal'
    content = bytearray(log.read_bytes())
    assert len(content) > 10_000
    (tmp_path / 'h' / 'gallery.sqlite-shm').unlink()
    if how == 'gone':
        log.unlink()
    elif how == 'cut':
        log.write_bytes(content[: len(content) // 2])
    else:
        content[60] ^= 1
        log.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=r'change \d+ was acknowledged, but this database has not seen it'
    ):
        Gallery(tmp_path / 'h')
    with repair(tmp_path / 'h') as taken:  # as it is
        assert 20 <= len(taken) < 26
        assert verify(taken).problems == ()


def test_a_restored_database_is_told_and_never_answers_with_other_names(tmp_path):
    gallery = made(tmp_path / 'g')
    gallery.close()
    shutil.copy(tmp_path / 'g' / 'gallery.sqlite', tmp_path / 'backup')
    rng = np.random.default_rng(0)
    wrong, right = rng.normal(size=(2, 3, DIM))
    with Gallery(tmp_path / 'g') as gallery:
        gallery.add(wrong, ['Mallory'] * 3, ['x'] * 3, [f'{i:064x}' for i in range(3)])
        gallery.save()
    shutil.copy(tmp_path / 'backup', tmp_path / 'g' / 'gallery.sqlite')
    with pytest.raises(DamagedFileError, match='another database was put in its place'):
        Gallery(tmp_path / 'g')
    os.remove(tmp_path / 'g' / 'acknowledged')  # only the index is left of what was
    with Gallery(tmp_path / 'g') as gallery:
        gallery.add(right, ['Alice'] * 3, ['y'] * 3, [f'{i:064x}' for i in range(10, 13)])
        assert {m[0].identity for m in gallery.search(right, k=1)} == {'Alice'}
        assert 'Mallory' not in {m.identity for row in gallery.search(wrong, k=99) for m in row}
        assert verify(gallery).problems == ()


def test_another_gallery_s_database_is_told(tmp_path):
    for seed, name in enumerate('ab'):
        made(tmp_path / name, seed).close()
    vectors = people(10, 1)[0]
    shutil.copy(tmp_path / 'b' / 'gallery.sqlite', tmp_path / 'a' / 'gallery.sqlite')
    with pytest.raises(DamagedFileError, match='another database was put in its place'):
        Gallery(tmp_path / 'a')
    with repair(tmp_path / 'a') as taken:
        assert taken.search(vectors[:1], k=1)[0][0].identity == 'person 1-0'


@pytest.mark.parametrize('written', [False, True])
@pytest.mark.parametrize('place', ['replaced', 'overwritten'])
@pytest.mark.parametrize('which', ['older', 'another'])
def test_a_database_that_comes_while_it_is_open_is_not_written_to(which, place, written, tmp_path):
    made(tmp_path / 'a').close()
    made(tmp_path / 'b', seed=1).close()
    own = tmp_path / 'a' / 'gallery.sqlite'
    shutil.copyfile(own if which == 'older' else tmp_path / 'b' / 'gallery.sqlite', tmp_path / 'other')
    with Gallery(tmp_path / 'a') as gallery:
        gallery.add(*people(1, seed=7))
    opened = Gallery(tmp_path / 'a')
    if written:
        opened.set_tuning({})
        opened._store.connections.checkpoint()
    opened.search(np.ones((1, DIM)))
    if place == 'replaced':
        os.replace(tmp_path / 'other', own)
    else:
        shutil.copyfile(tmp_path / 'other', own)
    for _ in range(2):
        with pytest.raises(DamagedFileError, match='another database was put in its place'):
            opened.add(*people(1, seed=8))
    opened.close()
    with pytest.raises(DamagedFileError):
        Gallery(tmp_path / 'a')


def test_a_database_that_is_removed_while_it_is_open_is_told(tmp_path):
    with made(tmp_path / 'g') as gallery:
        (tmp_path / 'g' / 'gallery.sqlite').unlink()
        with pytest.raises(DamagedFileError, match='removed while it was open: nothing is written'):
            gallery.add(*people(1, seed=8))


def test_a_damaged_page_of_entries_asks_for_a_backup(tmp_path):
    made(tmp_path / 'g', count=200).close()
    path = tmp_path / 'g' / 'gallery.sqlite'
    with sqlite3.connect(path) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'").fetchall()
        size = connection.execute('PRAGMA page_size').fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : (root - 1) * size + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match='restore a backup'):
        Gallery(tmp_path / 'g')
    with pytest.raises(DamagedFileError, match=r'not all of its entries can be read .*restore a backup'):
        repair(tmp_path / 'g')
    (tmp_path / 'empty').mkdir()
    for out in ('new', 'empty'):
        with pytest.raises(DamagedFileError, match='none of its 400 entries can be read'):
            salvage(tmp_path / 'g', tmp_path / out)
    assert not (tmp_path / 'new').exists()
    assert not list((tmp_path / 'empty').iterdir())
    with pytest.raises(InputError, match='not an empty folder'):
        salvage(tmp_path / 'g', tmp_path / 'g')
    assert path.read_bytes() == content


def test_what_can_be_read_of_a_damaged_database_is_salvaged(tmp_path, capsys):
    from mbv1_backbone.cli.main import main

    gallery = made(tmp_path / 'g', count=100)
    gallery.not_this_person([1], 'Ada')
    gallery.set_made_with(dict(model='small'))
    known = {entry.file: (entry.identity, entry.metadata) for entry in gallery.entries()}
    [vector] = [vector for entry, vector in gallery.entries_with_vectors() if entry.id == 60]
    gallery.close()
    path = tmp_path / 'g' / 'gallery.sqlite'
    content = bytearray(path.read_bytes())
    place = content.index(vector.tobytes())
    place -= place % 4096
    content[place : place + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        repair(tmp_path / 'g')
    assert main(['gallery', 'repair', str(tmp_path / 'g'), '--out-dir', str(tmp_path / 'new')]) == 0
    said = capsys.readouterr().out
    assert path.read_bytes() == content
    with Gallery(tmp_path / 'new') as new:
        assert 100 <= len(new) < 200
        assert f'{len(new)} of 200 entries' in said
        assert {e.file: (e.identity, e.metadata) for e in new.entries()}.items() <= known.items()
        assert [one.identity for one in new.corrections()] == ['Ada', 'person 0-0']
        assert (new.made_with, verify(new).problems) == (dict(model='small'), ())


def test_what_is_said_of_the_whole_is_salvaged_too(tmp_path):
    gallery = made(tmp_path / 'g')
    found = dict(threshold=0.5, fpir=0.01)
    gallery.set_calibration(found)
    gallery.rebuild('IVF1,Flat')
    gallery.close()
    salvage(tmp_path / 'g', tmp_path / 'new')
    with Gallery(tmp_path / 'new') as new:
        assert (new.calibration, new._store.meta('factory')) == (found, 'IVF1,Flat')


@pytest.mark.parametrize('last', [None, 0, 'x', 2**62])
def test_entries_are_salvaged_whatever_the_last_id_is_said_to_be(last, tmp_path):
    made(tmp_path / 'g').close()
    with closing(sqlite3.connect(tmp_path / 'g' / 'gallery.sqlite')) as connection:
        connection.execute('UPDATE sqlite_sequence SET seq = ?', (last,))
        connection.commit()
    assert salvage(tmp_path / 'g', tmp_path / 'new') == (20, 20)


def test_a_damaged_correction_is_one_line(tmp_path):
    gallery = made(tmp_path / 'g')
    gallery.not_this_person([1], 'Ada')
    gallery.close()
    with closing(sqlite3.connect(tmp_path / 'g' / 'gallery.sqlite')) as connection:
        connection.execute("UPDATE corrections SET box = 'x y'")
        connection.commit()
    with Gallery(tmp_path / 'g') as again:
        with pytest.raises(DamagedFileError, match='correction is damaged'):
            again.corrections()
        assert 'correction is damaged' in ' '.join(verify(again).problems)
    assert salvage(tmp_path / 'g', tmp_path / 'new') == (20, 20)


def test_a_reader_that_is_open_sees_another_history(tmp_path):
    """The index in memory, too, belongs to one database."""
    gallery = made(tmp_path / 'g')
    gallery.search(np.ones((1, DIM)))
    standing = gallery._live._standing
    assert gallery._store.since(standing.change, standing.state) is not None
    assert gallery._store.since(standing.change, '0' * 16) is None


def test_an_open_gallery_is_backed_up(tmp_path):
    gallery = made(tmp_path / 'g')
    with gallery.snapshot():  # whatever somebody reads or writes
        pass
    assert backup(gallery, tmp_path / 'b') == 20
    gallery.add(*people(1, seed=9))
    with Gallery(tmp_path / 'b') as copied:
        assert (len(copied), verify(copied).problems) == (20, ())
        assert copied.add(*people(1, seed=8)).new == 2
    with pytest.raises(InputError, match='not an empty folder'):
        backup(gallery, tmp_path / 'b')
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError):
        backup(gallery, tmp_path / 'file' / 'x')


def test_a_copied_folder_is_a_gallery(tmp_path):
    made(tmp_path / 'g').close()
    shutil.copytree(tmp_path / 'g', tmp_path / 'h', copy_function=shutil.copyfile)  # with other times
    with Gallery(tmp_path / 'h') as copied:
        assert (len(copied), verify(copied).problems) == (20, ())


def test_saving_leaves_the_users_files(tmp_path):
    gallery = made(tmp_path / 'g')
    for name in ('index-backup.npz', 'index-of-people.txt', 'index-1-x.faiss', '.mine.tmp'):
        (tmp_path / 'g' / name).write_text('precious')
    (tmp_path / 'g' / 'index-old').mkdir()
    before = {p.name for p in (tmp_path / 'g').glob('index-*-*.faiss')} - {'index-1-x.faiss'}
    gallery.add(*people(1, seed=5))
    gallery.save()
    there = {p.name for p in (tmp_path / 'g').iterdir()}
    assert {'index-backup.npz', 'index-of-people.txt', 'index-1-x.faiss', '.mine.tmp', 'index-old'} <= there
    assert not before & there


def test_all_threads_connections_are_closed(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    gallery = made(tmp_path / 'g')
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: gallery.search(np.ones((1, DIM)), identity='person 0-1'), range(64)))
        gallery.close()
        for use in (
            lambda: gallery.search(np.ones((1, DIM))),
            lambda: len(gallery),
            lambda: gallery.add(*people(1, 3)),
            lambda: gallery.get(1),
        ):
            with pytest.raises(InputError, match='the gallery is closed'):
                use()
            with pytest.raises(InputError, match='the gallery is closed'):
                pool.submit(use).result()
    names = [
        os.readlink(f'/proc/self/fd/{fd}')
        for fd in os.listdir('/proc/self/fd')
        if os.path.exists(f'/proc/self/fd/{fd}')
    ]
    assert not any(str(tmp_path) in name for name in names)
    gallery.close()  # once more is no harm


@pytest.mark.skipif(os.getuid() != 0, reason='needs root, to become another user')
def test_a_gallery_of_another_user_is_searched(tmp_path):
    gallery = made(tmp_path / 'g')
    vectors = people(10)[0]
    gallery.close()
    for path in (tmp_path / 'g').iterdir():
        path.chmod(0o444)
    (tmp_path / 'g').chmod(0o555)
    folder = tmp_path
    while folder != folder.parent:
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
        folder = folder.parent
    'x'.encode('cp437')  # zipfile's; another user may not read where Python lies
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            with Gallery(tmp_path / 'g') as opened:
                right = opened.search(vectors[:1], k=1)[0][0].id == 1
                try:
                    opened.remove([1])
                except InputError as error:
                    code = 0 if right and 'opened for reading only' in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_reading_only_writes_nothing(tmp_path):
    gallery = made(tmp_path / 'g')
    vectors = people(10)[0]
    gallery.close()
    before = {p.name: p.read_bytes() for p in (tmp_path / 'g').iterdir()}
    with Gallery(tmp_path / 'g', read_only=True) as opened:
        assert opened.search(vectors[:1], k=1)[0][0].id == 1
        assert len(opened.search(vectors[:1], k=9, metadata={'n': 3})[0]) == 1
        for change in (lambda: opened.remove([1]), opened.save, lambda: opened.update(1, {})):
            with pytest.raises(InputError, match='opened for reading only'):
                change()
        with Gallery(tmp_path / 'g') as writer:
            writer.remove([1])
            assert opened.search(vectors[:1], k=1)[0][0].id != 1
    with Gallery(tmp_path / 'g', read_only=True) as opened:
        assert len(opened) == 19
    assert set(before) - {p.name for p in (tmp_path / 'g').iterdir()} == set()


def test_what_is_written_while_a_file_that_nobody_wrote_to_is_read_is_an_error(tmp_path):
    made(tmp_path / 'g').close()
    with Gallery(tmp_path / 'g', read_only=True) as opened:
        assert {p.name for p in (tmp_path / 'g').glob('*-shm')} == set()
        told = pytest.raises(LockedError, match='written to while it was read')
        with told, opened.snapshot(), Gallery(tmp_path / 'g') as writer:
            writer.remove([1])
        assert len(opened) == 19  # read anew


def test_a_defect_while_an_export_is_read_is_no_damaged_file(tmp_path, monkeypatch):
    path = tmp_path / 'faces.npz'
    np.savez(path, about=np.array('{'))
    with pytest.raises(InputError, match='not a readable export'):
        export.read_about(path)

    def defect(*_):
        raise AttributeError('ours')

    monkeypatch.setattr(export, '_get', defect)
    with pytest.raises(AttributeError, match='ours'):
        export.read_about(path)


@pytest.mark.parametrize('remove', ['folder', 'database', 'lock'])
def test_a_gallery_that_is_removed_while_it_is_open_takes_no_change(remove, tmp_path):
    vectors, *columns = people(3)
    gallery = Gallery.create(tmp_path / 'g', DIM, 'm')
    gallery.add(vectors, *columns)
    if remove == 'folder':
        shutil.rmtree(tmp_path / 'g')
    elif remove == 'database':
        (tmp_path / 'g' / 'gallery.sqlite').unlink()
    else:
        (tmp_path / 'g' / 'writer.lock').unlink()
        (tmp_path / 'g' / 'writer.lock').mkdir()
    with pytest.raises(InputError, match=str(tmp_path / 'g')):
        gallery.remove([1])
    assert len(gallery.search(vectors, k=1)) == len(vectors)
    gallery.close()
