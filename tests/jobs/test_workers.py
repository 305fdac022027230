"""A job's workers, killed and side by side, on all kinds of input: the rows of one that nobody disturbs."""

import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.job_worker import ABOUT, NETWORKS, embedder
from support.project import ROOT

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.jobs import JobCounter, leases, parquet_files, work
from mbv1_backbone.jobs.inputs import check_inputs
from mbv1_backbone.jobs.leases import Leases
from mbv1_backbone.jobs.plan import open_plan
from mbv1_backbone.jobs.tables import write_failures

COLUMNS = ['file', 'sha256', 'box', 'score', 'landmarks', 'embedding', 'model']


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((40, 40)).save(buffer, 'JPEG')
    return buffer.getvalue()


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number in range(60):
        place = folder / f'person{number // 4}'
        place.mkdir(exist_ok=True)
        (place / f'{number:03d}.jpg').write_bytes(jpeg(number) if number % 20 else b'no image')
    return folder


def rows(job, columns=COLUMNS):
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in parquet_files([job])])


def finished(job, photos, **about):
    return work(job, {**ABOUT, 'inputs': [str(photos)], **about}, embedder(), 4, 0)


@pytest.fixture(scope='module')
def undisturbed(photos, tmp_path_factory):
    job = tmp_path_factory.mktemp('jobs') / 'undisturbed'
    finished(job, photos)
    return job


def test_a_job_has_a_row_a_face_and_its_failures_beside(photos, undisturbed):
    table = rows(undisturbed).to_pydict()
    files = sorted(path.relative_to(photos).as_posix() for path in photos.rglob('*.jpg'))
    assert table['file'] == [file for file in files if int(file[-7:-4]) % 20]
    assert table['sha256'] == [
        hashlib.sha256((photos / file).read_bytes()).hexdigest() for file in table['file']
    ]
    direct = embedder().embed([photos / file for file in table['file']], 4).vectors
    assert np.allclose(table['embedding'], direct, atol=1e-6)
    assert set(table['model']) == {embedder().fingerprint}
    failures = pq.read_table(undisturbed / 'failures.parquet').to_pylist()
    assert [one['file'] for one in failures] == [file for file in files if not int(file[-7:-4]) % 20]
    assert all('cannot be decoded' in one['reason'] and one['source'] == str(photos) for one in failures)
    counts = JobCounter(open_plan(undisturbed)).update()
    assert (counts.parts, counts.images, counts.rows, counts.failures) == (9, 60, 57, 3)
    assert not os.listdir(undisturbed / 'leases')


def tables(job):
    """All rows, and the failures."""
    parts = [pq.read_table(file) for file in sorted(job.glob('*-*.parquet'))]
    return pa.concat_tables(parts).replace_schema_metadata(), pq.read_table(job / 'failures.parquet')


@pytest.mark.parametrize(('task', 'wanted'), [('embed', 4), ('detect', 2)])
def test_killed_workers_leave_what_an_undisturbed_one_leaves(task, wanted, photos, tmp_path):
    job, chance = tmp_path / 'job', random.Random(0)
    about = {**ABOUT, 'inputs': [str(photos)]}
    work(tmp_path / 'undisturbed', about, NETWORKS[task](), 4, 0)
    command = [sys.executable, '-m', 'support.job_worker', str(job), task, str(photos)]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')])}
    workers, kills = [], 0
    while kills < wanted:
        workers = [one for one in workers if one.poll() is None]
        while len(workers) < 2:
            workers.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
        done = len(list(job.glob('*-*.parquet')))
        if list(job.glob('leases/0*')) and done > kills:
            victim = chance.choice(workers)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            kills += 1
        assert done < 9, 'the job was done before all kills'
        time.sleep(0.02)
    assert all(one.wait(60) in (0, -signal.SIGKILL) for one in workers)
    work(job, about, NETWORKS[task](), 4, 0)
    mine, others = tables(job), tables(tmp_path / 'undisturbed')
    assert all(one.equals(other) for one, other in zip(mine, others, strict=True))


def test_a_lease_is_taken_over_once_its_holder_is_silent_or_dead(tmp_path):
    mine, other = Leases(tmp_path, 0.2), Leases(tmp_path, 0.2)
    lease = mine.claim('a')
    with mine.held(lease):
        assert other.claim('a') is None
        time.sleep(0.5)
        assert other.claim('a') is None  # it beats
    again = other.claim('a')
    assert again is not None
    with other.held(again):
        os.utime(again.path)
    assert not again.path.exists()
    elsewhere = dict(token='t', machine='another', pid=1, began='1')
    (tmp_path / 'b').write_text(json.dumps(elsewhere))
    assert mine.claim('b') is None
    time.sleep(0.3)
    taken = mine.claim('b')
    assert taken is not None
    assert taken.path.read_text() == taken.content
    gone = subprocess.run(['true'], check=True)  # a process of this machine that has ended
    assert gone.returncode == 0
    dead = {**json.loads(taken.content), 'began': '0'}
    (tmp_path / 'c').write_text(json.dumps(dead))
    assert Leases(tmp_path, 1000).claim('c') is not None


def test_a_lease_outlives_a_disk_that_fails_for_a_moment(tmp_path, monkeypatch):
    plain, beaten, fails = leases._read, threading.Event(), [OSError(116, 'Stale file handle')]

    def reading(path):
        if threading.current_thread() is not threading.main_thread() and fails:
            raise fails.pop()
        return plain(path)

    mine = leases.Leases(tmp_path, 0.1)
    lease = mine.claim('a')
    monkeypatch.setattr(leases, '_read', reading)
    monkeypatch.setattr(leases.os, 'utime', lambda path: beaten.set())
    with mine.held(lease):
        assert beaten.wait(30)
    assert not fails


def test_tar_parquet_list_and_url_give_the_faces_of_the_folder(photos, undisturbed, tmp_path):
    paths = sorted(photos.rglob('*.jpg'))
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for path in paths:
            tar.add(path, path.relative_to(photos).as_posix())
            label = tarfile.TarInfo(f'{path.stem}.cls')
            tar.addfile(label, io.BytesIO(b''))
    contents = [dict(bytes=path.read_bytes(), path=None) for path in paths]
    pq.write_table(pa.table(dict(image=contents, key=[path.name for path in paths])), tmp_path / 'a.parquet')
    (tmp_path / 'list.txt').write_text('\n'.join(map(str, paths)))
    memory = fsspec.filesystem('memory')
    for path in paths:
        memory.pipe(f'/photos/{path.relative_to(photos).as_posix()}', path.read_bytes())
    wanted = rows(undisturbed, ['sha256', 'embedding'])
    found = {}
    for name in ('a.tar', 'a.parquet', 'list.txt', 'memory://photos'):
        job = tmp_path / f'job {name.replace("/", "")}'
        place = name if '://' in name else tmp_path / name
        finished(job, place, part_size=60, name_column='key')  # one batch order for all
        found[name] = rows(job, ['sha256', 'embedding', 'file', 'source'])
        assert found[name].column('sha256').to_pylist() == wanted.column('sha256').to_pylist()
        vectors = [np.array(one.column('embedding').to_pylist()) for one in (found[name], wanted)]
        assert np.allclose(*vectors, atol=1e-6)
        assert pq.read_table(job / 'failures.parquet').num_rows == 3
    assert found['a.tar'].column('file')[0].as_py() == 'person0/001.jpg'
    assert found['a.parquet'].column('file')[0].as_py() == '001.jpg'
    assert found['memory://photos'].column('source')[0].as_py() == 'memory://photos'


def test_damage_is_told_and_what_may_come_right_is_tried_again(photos, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for number in (1, 2, 3):
            tar.add(photos / f'person0/00{number}.jpg', f'{number}.jpg')
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        middle = tar.getmembers()[1].offset_data + 100
    (tmp_path / 'cut.tar').write_bytes(buffer.getvalue()[:middle])
    finished(tmp_path / 'job', tmp_path / 'cut.tar')
    [failure] = pq.read_table(tmp_path / 'job' / 'failures.parquet').to_pylist()
    assert failure['source'] == str(tmp_path / 'cut.tar')
    assert 'damaged after 1 images' in failure['reason']
    (tmp_path / 'list.txt').write_text(f'{tmp_path}/b.tar\n{photos}/person0/001.jpg\n')
    finished(tmp_path / 'listed', tmp_path / 'list.txt')
    assert rows(tmp_path / 'listed').num_rows == 1
    (tmp_path / 'list.txt').write_text('memory://none/a.jpg\n')
    finished(tmp_path / 'urls', tmp_path / 'list.txt')
    [failure] = pq.read_table(tmp_path / 'urls' / 'failures.parquet').to_pylist()
    assert failure['reason'] == 'memory://none/a.jpg: no such file'
    (tmp_path / 'late.tar').write_bytes(buffer.getvalue())
    shards = str(tmp_path / '*.tar')
    (tmp_path / 'late').mkdir()
    plain = fsspec.implementations.local.LocalFileSystem._open

    def refusing(self, path, *args, **kwargs):
        if path.endswith('late.tar'):
            raise OSError(5, 'Input/output error')
        return plain(self, path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsspec.implementations.local.LocalFileSystem, '_open', refusing)
        with pytest.raises(InputError, match=r'1 of 2 parts could not be read; .*late.tar: Input/output'):
            finished(tmp_path / 'late', shards)
    assert not (tmp_path / 'late' / 'failures.parquet').exists()
    finished(tmp_path / 'late', shards)
    assert rows(tmp_path / 'late').num_rows == 4


@contextmanager
def full_disk():
    """No file may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_lease_and_names_the_file(undisturbed, tmp_path):
    leases = Leases(tmp_path)
    with pytest.raises(OSError, match='File too large'), full_disk():
        leases.claim('000000')
    assert not os.listdir(tmp_path)
    assert leases.claim('000000') is not None
    with pytest.raises(OSError, match='File too large') as raised, full_disk():
        write_failures(tmp_path / 'failures.parquet', sorted(undisturbed.glob('faces-*')))
    assert raised.value.filename == str(tmp_path / 'failures.parquet')
    assert os.listdir(tmp_path) == ['000000']


def test_a_plan_that_does_not_say_what_the_job_does_is_damaged(undisturbed, tmp_path):
    shutil.copytree(undisturbed / 'plan', tmp_path / 'job' / 'plan')
    (tmp_path / 'job' / 'plan' / 'job.json').write_text('{}')
    with pytest.raises(DamagedFileError, match=r'job\.json does not say what the job does'):
        finished(tmp_path / 'job', tmp_path)


def test_another_job_and_wrong_places_are_refused(photos, undisturbed, tmp_path):
    with pytest.raises(InputError, match='a job was begun there with flip False, this is True'):
        finished(undisturbed, photos, flip=True)
    with pytest.raises(InputError, match='nowhere: no such file or folder'):
        check_inputs([str(tmp_path), 's3://a/b', '*.tar', str(tmp_path / 'nowhere')])
    with pytest.raises(InputError, match='nothing to read there'):
        finished(tmp_path / 'none', tmp_path / 'nowhere')
    assert not (tmp_path / 'none').exists()
    (tmp_path / 'mine.txt').write_text('')
    with pytest.raises(InputError, match=r'holds mine\.txt, and no job'):
        finished(tmp_path, photos)
    with pytest.raises(InputError, match='not to a URL'):
        finished('s3://bucket/job', photos)
    with pytest.raises(InputError, match='no faces-'):
        parquet_files([tmp_path])
    shutil.copytree(undisturbed, tmp_path / 'half')
    (tmp_path / 'half' / 'faces-000004.parquet').unlink()
    with pytest.raises(InputError, match='half: 1 parts of the job are not done'):
        parquet_files([tmp_path / 'half'])
    pq.write_table(pa.table(dict(picture=[b''])), tmp_path / 'a.parquet')
    with pytest.raises(InputError, match='no column image'):
        finished(tmp_path / 'columns', tmp_path / 'a.parquet')
    from mbv1_backbone.jobs import read_about

    with pytest.raises(DamagedFileError, match='written by another program'):
        read_about(tmp_path / 'a.parquet')
