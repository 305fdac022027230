"""Jobs that detect: a row a detection, from the same workers, leases and inputs as those that embed."""

import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.job_worker import ABOUT, detector, embedder
from support.project import ROOT

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.jobs import JobCounter, enrolment, read_about, work
from mbv1_backbone.jobs.plan import open_plan
from mbv1_backbone.jobs.processes import rank_and_size
from mbv1_backbone.jobs.ray_tasks import _codes


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    generator = np.random.default_rng(0)
    for number in range(20):
        pixels = generator.integers(0, 256, (20 + number, 30, 3), np.uint8)
        pixels[:, :15] //= 5
        pixels[:, 15:] = 255 - pixels[:, 15:] // 2
        Image.fromarray(pixels).save(folder / f'{number:02d}.png')
    Image.new('RGB', (8, 8), (127, 127, 127)).save(folder / '20.png')  # as light as dark
    (folder / '21.png').write_bytes(b'no image')
    return folder


def about(photos, **more):
    return {**ABOUT, 'inputs': [str(photos)], 'score_thr': 0.55, **more}


@pytest.fixture(scope='module')
def job(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp('jobs') / 'job'
    work(folder, about(photos), detector(), 4)
    return folder


def test_a_row_a_detection_as_the_detector_gives_them(photos, job):
    files = sorted(job.glob('detections-*.parquet'))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    at = 0
    for name in sorted(path.name for path in photos.glob('*.png'))[:-1]:
        [found] = detector().detect(photos / name)
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            if score >= 0.55:
                row, at = rows[at], at + 1
                assert (row['source'], row['file']) == (str(photos), name)
                assert row['sha256'] == hashlib.sha256((photos / name).read_bytes()).hexdigest()
                assert row['box'] == box.tolist()
                assert row['score'] == score
                assert (row['label'], row['class']) == (label, ('light', 'dark')[label])
                assert (row['model'], row['landmarks']) == ('e' * 64, None)
    assert at == len(rows) > 20
    assert '20.png' not in {row['file'] for row in rows}
    [failure] = pq.read_table(job / 'failures.parquet').to_pylist()
    assert (failure['file'], failure['source']) == ('21.png', str(photos))
    assert 'cannot be decoded' in failure['reason']
    counts = JobCounter(open_plan(job)).update()
    assert (counts.images, counts.rows, counts.failures) == (22, len(rows), 1)
    says = read_about(files[0])
    assert (says['classes'], says['category_ids'], says['score_thr']) == (['light', 'dark'], [1, 2], 0.55)


def test_jobs_of_another_kind_or_detector_are_refused(photos, job, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="begun there with task 'detect', this is 'embed'"):
        work(job, about(photos), embedder())
    with pytest.raises(InputError, match=r'begun there with score_thr 0\.55, this is 0\.3'):
        work(job, about(photos, score_thr=0.3), detector())
    with pytest.raises(InputError, match='detections of mbv1 detect-job'):
        enrolment.check_parquet(sorted(job.glob('detections-*.parquet')))
    other = detector()
    monkeypatch.setattr(type(other.network), 'settings', 'b' * 64)
    with pytest.raises(InputError, match="begun there with settings 'aaaa"):
        work(job, about(photos), other)
    rounded = detector()
    monkeypatch.setattr(type(rounded.network), 'settings', 'a' * 64)
    monkeypatch.setattr(type(rounded.network), 'precision', 'int8')  # of the same weights
    with pytest.raises(InputError, match="begun there with precision 'float', this is 'int8'"):
        work(job, about(photos), rounded)


def test_why_workers_on_ray_have_died_is_said(capsys):
    class Died(Exception):
        pass

    def get(one):
        if one == 'dead':
            raise Died("Traceback ...\nModuleNotFoundError: No module named 'mbv1_backbone'")
        return one

    ray = SimpleNamespace(
        exceptions=SimpleNamespace(RayError=Died),
        wait=lambda pending, timeout: (pending[:1], pending[1:]),
        get=get,
    )
    looks = []
    assert _codes(ray, [0, 'dead', 2], lambda: looks.append(1)) == [0, None, 2]
    assert len(looks) == 3
    said = capsys.readouterr().err
    assert said == "a worker on Ray has died: ModuleNotFoundError: No module named 'mbv1_backbone'\n"


@pytest.mark.parametrize('names', [('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_NTASKS')])
def test_workers_that_others_start_know_their_rank(names, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'SLURM_PROCID', 'SLURM_NTASKS'):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv(names[0], '3')
    monkeypatch.setenv(names[1], '4')
    assert rank_and_size() == (3, 4)
    monkeypatch.setenv(names[0], 'first')
    with pytest.raises(InputError, match=f"{names[0]} must be a whole number, got 'first'"):
        rank_and_size()


def test_two_workers_of_slurm_do_one_job(photos, job, tmp_path):
    command = [sys.executable, '-m', 'support.job_command', 'detect-job', 'plain', str(photos)]
    command += [
        '--score-thr',
        '.55',
        '--part-size',
        '2',
        '--batch-size',
        '4',
        '--out-dir',
        str(tmp_path / 'job'),
    ]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]), 'SLURM_NTASKS': '2'}
    workers = [
        subprocess.Popen(command, env={**env, 'SLURM_PROCID': str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    rows = sum(read_about(file)['rows'] for file in job.glob('detections-*.parquet'))
    assert said == [
        f'{tmp_path / "job"}: {rows} detections of 22 images in 11 parts, 1 left out (failures.parquet)\n',
        '',
    ]
    for file in (tmp_path / 'job').glob('detections-*.parquet'):
        assert json.dumps(read_about(file)['made_with']) == '{"model": "plain"}'


def test_workers_on_ray_do_the_same(photos, job, tmp_path, monkeypatch):
    pytest.importorskip('ray', reason='ray is not installed')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), str(ROOT / 'tests')]))
    from support.job_command import opened

    from mbv1_backbone.cli import detect_job, options
    from mbv1_backbone.cli.job_verbs import run_job

    parser = options.Parser()
    detect_job.add_arguments(parser)
    given = [
        'plain',
        str(photos),
        '--score-thr',
        '.55',
        '--out-dir',
        str(tmp_path / 'job'),
        '--part-size',
        '7',
    ]
    run_job(parser.parse_args([*given, '--ray', 'local', '--workers', '2', '--batch-size', '4']), opened)
    mine, others = (
        [pq.read_table(file) for file in sorted(folder.glob('detections-*.parquet'))]
        for folder in (tmp_path / 'job', job)
    )
    assert [table.num_rows for table in mine] == [table.num_rows for table in others]
    assert all(one.equals(other) for one, other in zip(mine, others, strict=True))
