"""A job's faces in galleries of both kinds: whose they are, what is there already, what is refused."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from support.gallery_kinds import KINDS, Kind
from support.job_worker import ABOUT, DIM, PlainNetwork, embedder

from mbv1_backbone.cli.main import main
from mbv1_backbone.jobs import enrolment, read_about, work
from mbv1_backbone.retrieval import open_gallery


@pytest.fixture(params=KINDS, scope='module')
def kind(request, tmp_path_factory):
    yield from Kind.opened(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((40, 40)).save(buffer, 'PNG')
        place = folder / f'person{number // 3}' / f'{number}.png'
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(buffer.getvalue())
    shutil.copy(folder / 'person0' / '0.png', folder / 'loose.png')
    return folder


@pytest.fixture(scope='module')
def job(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp('jobs') / 'job'
    work(folder, {**ABOUT, 'inputs': [str(photos)]}, embedder(), 4)
    return folder


@pytest.fixture
def call(capsys):
    def called(*args, code=0):
        assert main(['gallery', *map(str, args)]) == code, capsys.readouterr().err
        return capsys.readouterr()

    return called


def test_a_gallery_is_made_and_filled_once(kind, job, photos, call, monkeypatch):
    place = kind.place()
    read = []
    monkeypatch.setattr(enrolment, 'read_about', lambda file: read.append(file) or read_about(file))
    said = call('add', place, '--from-parquet', job)
    assert len(read) == len(set(read)) > 0
    assert '12 added, 0 known, 12 now' in said.out
    assert 'left out: loose.png: nobody says whose face it is' in said.err
    with open_gallery(place) as gallery:
        assert gallery.identities() == {f'person{number}': 3 for number in range(4)}
        assert gallery.made_with['model'] == 'plain'
        gallery.check_model(embedder().fingerprint, embedder().preprocessing)
        for entry, vector in gallery.entries_with_vectors():
            assert entry.metadata['folder'] == str(photos)
            direct = embedder().embed([photos / entry.file]).vectors[0]
            assert np.allclose(vector, direct, atol=1e-6)
    assert '0 added, 12 known, 12 now' in call('add', place, '--from-parquet', job).out


def test_names_come_from_a_table_or_are_automatic(kind, job, call, tmp_path):
    (tmp_path / 'names.csv').write_text('file,identity,year\nperson0/1.png,Ada,1815\nperson1/3.png,Bo,\n')
    place = kind.place()
    said = call('add', place, tmp_path / 'names.csv', '--from-parquet', job)
    assert '2 added' in said.out
    assert '11 faces without a name' in said.err
    with open_gallery(place) as gallery:
        assert gallery.identities() == {'Ada': 1, 'Bo': 1}
        assert [entry.metadata.get('year') for entry in gallery.entries(identity='Ada')] == [1815]
    files = sorted(job.glob('faces-*.parquet'))
    place = kind.place()
    assert '12 added, 1 known' in call('add', place, '--unnamed', '--from-parquet', *files).out
    with open_gallery(place) as gallery:
        assert all(name.startswith('unnamed-') for name in gallery.identities())


def test_another_model_and_wrong_files_are_refused(kind, job, call, monkeypatch, tmp_path):
    place = kind.place()
    with kind.made(DIM, 'e' * 64, embedder().preprocessing, place=place):
        pass
    said = call('add', place, '--from-parquet', job, code=2)
    assert f'was made with model {"e" * 16}, this is {"f" * 16}' in said.err
    with open_gallery(place) as gallery:
        assert len(gallery) == 0
    monkeypatch.setattr(PlainNetwork.spec, 'fingerprint', 'd' * 64)
    source = tmp_path / 'photos'
    source.mkdir()
    Image.new('RGB', (40, 40), 'red').save(source / 'a.png')
    work(tmp_path / 'other', {**ABOUT, 'inputs': [str(source)]}, embedder(), 4)
    nowhere = kind.place()
    said = call('add', nowhere, '--from-parquet', job, tmp_path / 'other', code=2)
    assert "has model 'dddd" in said.err
    (tmp_path / 'a.parquet').write_bytes(b'PAR1')
    said = call('add', nowhere, '--from-parquet', tmp_path / 'a.parquet', code=2)
    assert 'not a file of mbv1 embed-job' in said.err
    said = call('add', nowhere, '--from-parquet', job, '--model', 'any', code=2)
    assert '--model goes with images' in said.err
    assert 'required: --model, images' in call('add', nowhere, code=2).err
    said = call('add', nowhere, '--from-parquet', tmp_path / 'other', code=2)
    assert 'none of 1 faces can be added' in said.err
    said = call('stats', nowhere, code=2)
