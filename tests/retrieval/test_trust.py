"""Kills, full disks, other processes, and files from strangers."""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import threading
import time

import faiss
import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import InputError, LockedError, Mbv1Error
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.calibration import calibrate
from mbv1_backbone.retrieval.export import export, import_file
from mbv1_backbone.retrieval.lock import writer_lock
from mbv1_backbone.retrieval.maintenance import merge, verify

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context('fork')


def forked(work, *args):
    """A child process that begins where this one is: no imports to wait for."""
    faiss.omp_set_num_threads(1)  # threads do not survive a fork
    child = FORK.Process(target=work, args=args)
    child.start()
    return child


# --- kills


KINDS = [*['add'] * 3, 'remove', 'update', 'save', 'rebuild', 'compact', 'calibrate', 'merge', 'import']


def operations(seed):
    """A run of operations on a gallery, as names and arguments."""
    generator = random.Random(seed)
    yield 'create', None
    for step in range(40):
        yield generator.choice(KINDS), seed * 1000 + step


def perform(folder, kind, number):
    """One operation, opened and closed as a command line does it."""
    if kind == 'create':
        Gallery.create(folder / 'g', DIM, 'm').close()
        return
    with Gallery(folder / 'g') as gallery:
        if kind == 'add':
            gallery.add(*people(3, number))
        elif kind == 'remove':
            gallery.remove(identity=min(gallery.identities(), default='nobody'))
        elif kind == 'update':
            first = next(iter(gallery.entries()), None)
            if first is not None:
                gallery.update(first.id, dict(number=number))
        elif kind == 'calibrate':
            with contextlib.suppress(InputError):  # too few people
                calibrate(gallery, 0.25)
        elif kind in ('merge', 'import'):
            with Gallery.create(folder / f'other-{number}', DIM, 'm') as other:
                other.add(*people(2, number))
                if kind == 'merge':
                    merge(gallery, [other])
                else:
                    export(other, folder / f'{number}.npz')
                    import_file(gallery, folder / f'{number}.npz')
        else:
            getattr(gallery, kind)()


def expected(state, kind, number):
    """The same on a dict from file to (identity, metadata)."""
    state = dict(state)
    if kind in ('add', 'merge', 'import'):
        _, names, files, _ = people(3 if kind == 'add' else 2, number)
        state |= {file: (name, {}) for name, file in zip(names, files, strict=True)}
    elif kind == 'remove' and state:
        gone = min(name for name, _ in state.values())
        state = {file: value for file, value in state.items() if value[0] != gone}
    elif kind == 'update' and state:
        first = next(iter(state))
        state[first] = (state[first][0], dict(number=number))
    return state


def run_and_tell(folder, seed, pipe):
    for kind, number in operations(seed):
        perform(folder, kind, number)
        os.write(pipe, b'.')


def found(folder):
    with Gallery(folder / 'g') as gallery:
        state = {e.file: (e.identity, dict(e.metadata)) for e in gallery.entries()}
        report = verify(gallery)
        vectors = np.array([v for _, v in gallery.entries_with_vectors()]).reshape(-1, DIM)
        seen = {m.file for matches in gallery.search(vectors[:3], k=500, threshold=None) for m in matches}
    return state, report, seen


@pytest.mark.parametrize('part', range(4))
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path, part):
    """60 kills a part, each of a process at work; afterwards the gallery opens, is whole, and goes on."""
    generator, killed, half_done = random.Random(part), 0, 0
    for kill in range(60):
        seed = part * 100 + kill
        folder = tmp_path / str(kill)
        folder.mkdir()
        receive, send = os.pipe()
        child = forked(run_and_tell, folder, seed, send)
        os.close(send)
        done = len(os.read(receive, 1))  # it is made: from here on everything counts
        time.sleep(generator.uniform(0, 0.35))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        done += len(os.read(receive, 1000))
        os.close(receive)
        killed += child.exitcode == -signal.SIGKILL
        steps = list(operations(seed))
        before: dict = {}
        for kind, number in steps[:done]:
            before = expected(before, kind, number)
        after = expected(before, *steps[done]) if done < len(steps) else before
        state, report, seen = found(folder)
        assert report.problems == (), (seed, steps[done - 1 : done + 1])
        assert state in (before, after), (seed, steps[done - 1 : done + 1])
        assert seen == set(state) or not state
        half_done += before != after and state == after
        perform(folder, 'add', 10**6)  # and it goes on
        assert len(found(folder)[0]) == len(state) + 6
        shutil.rmtree(folder)
    assert killed >= 55  # the others were done before
    assert half_done < killed / 2  # kills between a change and its acknowledgement are the fewer


def test_a_kill_while_it_is_made_leaves_a_gallery_or_none(tmp_path):
    generator, made = random.Random(0), 0
    for kill in range(40):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child = forked(perform, folder, 'create', None)
        if kill < 39:  # the last is not killed, the first at once
            time.sleep(generator.uniform(0, 0.06) if kill else 0)
            os.kill(child.pid, signal.SIGKILL)
        child.join()
        if (folder / 'g' / 'gallery.sqlite').exists():
            made += 1
        else:
            with pytest.raises(InputError, match='not a gallery'):
                Gallery(folder / 'g')
            perform(folder, 'create', None)  # what a kill leaves is no obstacle
        with Gallery(folder / 'g') as gallery:
            assert gallery.add(*people(1)).new == 2
    assert 0 < made < 40


def fill(folder, limit, pipe):
    """Add until the disk is full: files here may not grow beyond ``limit`` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with Gallery(folder) as gallery:
        for number in range(1000):
            try:
                gallery.add(*people(20, number))
            except Mbv1Error as error:
                os.write(pipe, json.dumps(dict(added=number, error=str(error))).encode())
                return
    os.write(pipe, json.dumps(dict(added=1000, error='')).encode())


@pytest.mark.parametrize('limit', [60_000, 150_000, 400_000])
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path, limit):
    Gallery.create(tmp_path / 'g', DIM, 'm').close()
    receive, send = os.pipe()
    forked(fill, tmp_path / 'g', limit, send).join()
    told = json.loads(os.read(receive, 10_000))
    assert told['added'] < 1000
    assert told['error']
    with Gallery(tmp_path / 'g') as gallery:
        assert len(gallery) == told['added'] * 40
        assert verify(gallery).problems == ()
        gallery.add(*people(20, 5000))
        assert len(gallery) == told['added'] * 40 + 40


# --- others at work


def keep_changing(folder, stop, changes):
    """Add pairs of entries and remove them again, two in one change, and retrain now and then."""
    with Gallery(folder) as gallery:
        number = 0
        while not stop.is_set():
            changes.value = number
            number += 1
            gallery.add(*people(1, number))
            if number > 20:
                gallery.remove(identity=f'person {number - 20}-0')
            if number % 15 == 0:
                gallery.rebuild() if number % 2 else gallery.compact()


def keep_reading(folder, stop, searches, results):
    """Search for everything; a person with one entry is a state between two changes."""
    halves = []

    def read(slot, gallery):
        while not stop.is_set():
            [matches] = gallery.search(np.ones((1, DIM)), k=1000, threshold=None)
            names = [match.identity for match in matches]
            halves.extend(name for name in set(names) if names.count(name) != 2)
            searches[slot] += 1  # each thread has its own

    try:
        with Gallery(folder) as gallery:
            threads = [threading.Thread(target=read, args=(slot, gallery)) for slot in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        results.put(halves[:3])
    except BaseException as error:
        results.put([repr(error)])


def test_readers_see_the_state_before_or_after_a_change_never_between(tmp_path):
    folder = tmp_path / 'g'
    with Gallery.create(folder, DIM, 'm') as gallery:
        gallery.add(*people(5, 10**6))
    stop, results, changes = FORK.Event(), FORK.Queue(), FORK.Value('i', 0)
    searches = [FORK.Array('i', 3) for _ in range(2)]
    writer = forked(keep_changing, folder, stop, changes)
    readers = [forked(keep_reading, folder, stop, counts, results) for counts in searches]
    processes, patience = (writer, *readers), time.monotonic() + 120
    while changes.value < 50 or min(min(counts) for counts in searches) < 10:  # three times 15 is retrained
        assert all(process.is_alive() for process in processes)
        assert time.monotonic() < patience, (changes.value, [list(counts) for counts in searches])
        time.sleep(0.02)
    stop.set()
    assert [results.get(timeout=60) for _ in readers] == [[], []]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with Gallery(folder) as gallery:
        assert verify(gallery).problems == ()


def test_two_writers_take_turns(tmp_path):
    folder = tmp_path / 'g'
    Gallery.create(folder, DIM, 'm').close()

    def write(first):
        with Gallery(folder, timeout=60) as gallery:
            for number in range(first, first + 20):
                gallery.add(*people(1, number))

    writers = [forked(write, first) for first in (0, 1000)]
    for process in writers:
        process.join(120)
        assert process.exitcode == 0
    with Gallery(folder) as gallery:
        assert len(gallery) == 80


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm', timeout=0.1) as gallery:
        ready, stop = FORK.Event(), FORK.Event()

        def hold():
            with writer_lock(gallery.folder, 'merge', 1):
                ready.set()
                stop.wait(30)

        holder = forked(hold)
        ready.wait(30)
        with pytest.raises(LockedError, match=f'is being written: merge by process {holder.pid} on'):
            gallery.add(*people(1))
        assert gallery.search(np.ones((1, DIM))) == [[]]  # reading goes on
        stop.set()
        holder.join()
        assert gallery.add(*people(1)).new == 2


# --- files from strangers


def damage(content, generator):
    """Some bytes changed, or the end cut, or a piece put elsewhere."""
    content, kind = bytearray(content), generator.random()
    if kind < 0.15:
        return bytes(content[: generator.randrange(len(content))])
    if kind < 0.3:
        a, b = (generator.randrange(len(content)) for _ in range(2))
        content[a : a + 64] = content[b : b + 64]
        return bytes(content)
    for _ in range(generator.choice([1, 1, 2, 8])):
        content[generator.randrange(len(content))] ^= generator.randrange(1, 256)
    return bytes(content)


@pytest.mark.parametrize(
    'name', ['manifest.json', '.faiss', '.npz', 'gallery.sqlite', '-wal', 'acknowledged']
)
def test_a_damaged_gallery_is_an_error_or_right_never_a_wrong_answer(tmp_path, name):
    """400 damaged files of each kind."""
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        vectors, *rest = people(15)
        gallery.add(vectors, *rest, [dict(n=i) for i in range(30)])
        gallery.save()
        gallery.remove([3])
        gallery.add(*people(1, seed=8))
        right = gallery.search(vectors[:6], k=4, threshold=None)
        for path in list((tmp_path / 'g').iterdir()):  # as a kill leaves it, with a write-ahead log
            (tmp_path / 'whole').mkdir(exist_ok=True)
            shutil.copy2(path, tmp_path / 'whole' / path.name)
    generator, errors = random.Random(0), 0
    victim = next(p.name for p in (tmp_path / 'whole').iterdir() if p.name.endswith(name))
    whole = (tmp_path / 'whole' / victim).read_bytes()
    for _ in range(400):
        copy = tmp_path / 'copy'
        shutil.copytree(tmp_path / 'whole', copy)
        (copy / victim).write_bytes(damage(whole, generator))
        try:
            with Gallery(copy) as opened:
                found = opened.search(vectors[:6], k=4, threshold=None)
            assert [[(m.id, m.identity, m.file) for m in row] for row in found] == [
                [(m.id, m.identity, m.file) for m in row] for row in right
            ]
        except InputError:
            errors += 1
        shutil.rmtree(copy)
    assert errors > 0 or name in ('.faiss', '.npz', 'acknowledged')  # these are made anew


def test_a_manifest_does_not_lead_outside_the_gallery(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        gallery.save()
    path = tmp_path / 'g' / 'manifest.json'
    whole = json.loads(path.read_text())
    for name in ('../secret', '/etc/passwd', '..\\x', '.hidden'):
        for key in ('index', 'catalog'):
            path.write_text(json.dumps({**whole, key: name}))
            with pytest.raises(InputError, match='is not a file of the gallery'):
                Gallery(tmp_path / 'g')
