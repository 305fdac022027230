"""Whole runs by the command line on a few drawn people: every loss, the embedding and the evaluation."""

import functools
import json
import os
import sys

import numpy as np
import pytest
from support.people import draw_people, write_pairs

from mbv1_backbone.face.files import read_embeddings
from mbv1_backbone.inference.embedder import FaceEmbedder

TINY = """
_base_ = {base!r}
model = dict(
    backbone=dict(widen_factor=0.25),
    head=dict(embedding_dims=8),
    data_preprocessor=dict(input_size=32))
train_pipeline = [
    dict(type='LoadFace', size=32),
    dict(type='FlipFace'),
    dict(type='MoveFace', size=32),
    dict(type='LightFace'),
    dict(type='PackFace'),
]
test_pipeline = [dict(type='LoadFace', size=32), dict(type='PackFace')]
data = dict(data_root={root!r})
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline, **data))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='FaceMetric', pairs='dev_pairs.csv', data_root={root!r})
test_evaluator = val_evaluator
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [dict(type='ConstantLR', factor=1.0)]
{extra}
"""
LOSSES = {
    'triplet': ('facenet_mbv1_1.0-160_triplet.py', ''),
    'arcface': ('arcface_mbv1_1.0-112.py', 'model["losses"] = dict(num_classes=8)'),
    'distill': (
        'facenet_mbv1_1.0-160_distill.py',
        'train_dataloader["dataset"].update(teacher_file="teacher.npz", partners=False)',
    ),
}


def tiny(configs, folder, kind, out):
    base, extra = LOSSES[kind]
    out.write_text(TINY.format(base=str(configs / base), root=str(folder), extra=extra))
    return out


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    folder = draw_people(tmp_path_factory.mktemp('people'), people=12, images=5, size=48)
    write_pairs(folder)
    names = sorted(path.name for path in folder.rglob('*.jpg'))
    rng = np.random.default_rng(0)
    centres = {name[:8]: rng.normal(size=8) for name in names}
    vectors = [centres[name[:8]] + 0.1 * rng.normal(size=8) for name in names]
    np.savez(folder / 'teacher.npz', files=names, embeddings=np.array(vectors))
    return folder


@pytest.fixture(scope='module')
def trained(people, run, tmp_path_factory):
    """Config and work folder of a run with each loss."""
    from support.project import ROOT

    def train(kind):
        folder = tmp_path_factory.mktemp(kind)
        config = tiny(ROOT / 'configs' / 'face', people, kind, folder / 'tiny.py')
        run('tools/train.py', config, '--work-dir', folder)
        return config, folder

    return functools.cache(train)


@pytest.mark.slow
@pytest.mark.parametrize('kind', LOSSES)
def test_every_loss_trains_and_is_evaluated(kind, trained):
    _, work = trained(kind)
    assert (work / 'curves.png').is_file()
    lines = next(work.glob('*/vis_data/scalars.json')).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert any('face/accuracy' in record for record in records)
    assert any(f'loss_{kind}' in record for record in records)


@pytest.mark.slow
def test_a_run_is_evaluated_published_and_embeds(trained, people, run, tmp_path):
    config, work = trained('arcface')
    done = run(
        *('tools/test.py', config, work / 'epoch_4.pth', '--work-dir', work, '--out', tmp_path / 'dev.npz')
    )
    assert 'face/accuracy' in done.stdout + done.stderr
    files, vectors = read_embeddings(tmp_path / 'dev.npz')
    assert vectors.shape == (20, 8)

    run('tools/publish_model.py', config, work / 'epoch_4.pth', tmp_path / 'w.safetensors')
    run(
        'tools/embed_faces.py',
        tmp_path / 'w.safetensors',
        people / 'images',
        '--out',
        tmp_path / 'e.npz',
        '--detector',
        'none',
        '--precision',
        'fp32',
    )
    names, embeddings = read_embeddings(tmp_path / 'e.npz')
    assert len(names) == 60
    by_name = dict(zip(names, embeddings, strict=True))
    assert np.allclose([by_name[file] for file in files], vectors, atol=1e-4)
    by_config = FaceEmbedder.load(config, work / 'epoch_4.pth')
    assert by_config.fingerprint == FaceEmbedder.load(work / 'epoch_4.pth').fingerprint


@pytest.mark.slow
def test_two_processes_train_on_batches_of_their_own(people, run, tmp_path):
    from support.project import ROOT

    config = tiny(ROOT / 'configs' / 'face', people, 'triplet', tmp_path / 'tiny.py')
    port = str(30500 + os.getpid() % 1000)
    run(
        *('tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'run'),
        program='bash',
        env=dict(PYTHON=sys.executable, PORT=port, GLOO_SOCKET_IFNAME='lo', OMP_NUM_THREADS='1'),
    )
    lines = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert any(record.get('face/accuracy') is not None for record in records)


@pytest.mark.slow
def test_a_person_in_training_and_test_stops_the_run(people, run, tmp_path):
    from support.project import ROOT

    config = tiny(ROOT / 'configs' / 'face', people, 'triplet', tmp_path / 'tiny.py')
    with config.open('a') as file:
        file.write('train_dataloader["dataset"]["identities_file"] = ""\n')
    done = run('tools/train.py', config, '--work-dir', tmp_path / 'run', expect=2)
    assert 'person_i and 3 more people are in the training set and in the test' in done.stderr


def test_embedding_leaves_out_what_cannot_be_read(people, run, tmp_path):
    from support.embedders import build

    from mbv1_backbone.models.recipe import recipe_of
    from mbv1_backbone.weights import write_weights
    from mbv1_backbone.weights.store import Weights

    model = build()
    state = {k: v for k, v in model.state_dict().items() if 'tracked' not in k}
    write_weights(Weights(state, recipe_of(model, 'test')), tmp_path / 'w.safetensors')
    folder = draw_people(tmp_path / 'f', people=2, images=2)
    (folder / 'images' / 'person_a' / 'broken.jpg').write_bytes(b'\xff\xd8 nothing')
    done = run(
        *('tools/embed_faces.py', tmp_path / 'w.safetensors', folder / 'images', '--out', tmp_path / 'e.npz'),
        *('--detector', 'none'),
    )
    assert 'left out: person_a/broken.jpg: ' in done.stderr
    assert '4 embeddings of 16 dimensions, 1 left out' in done.stdout
