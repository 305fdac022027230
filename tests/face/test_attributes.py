"""Attributes: soft targets, what is unknown, CelebA's files."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face import AttributeDataset, AttributeMetric, CelebA
from mbv1_backbone.face.attribute_data import read_attributes
from mbv1_backbone.face.attributes import soft_attributes, soft_cross_entropy


def test_cross_entropy_to_probabilities_by_a_loop():
    logits, wanted = torch.randn(4, 3), torch.rand(4, 3)
    wanted[1, 2] = wanted[0, 0] = float('nan')
    terms = []
    for i in range(4):
        for j in range(3):
            p, q = wanted[i, j].item(), 1 / (1 + math.exp(-logits[i, j].item()))
            if not math.isnan(p):
                terms.append(-p * math.log(q) - (1 - p) * math.log(1 - q))
    assert soft_cross_entropy(logits, wanted).item() == pytest.approx(sum(terms) / 10, rel=1e-5)
    assert soft_cross_entropy(logits, torch.full((4, 3), float('nan'))).item() == 0
    with pytest.raises(ValueError, match='num_attributes=3 must be that of the data set, 2'):
        soft_cross_entropy(logits, wanted[:, :2])


def test_the_model_learns_a_teachers_answers_and_answers():
    model = MODELS.build(
        dict(
            type='FaceAttributeModel',
            backbone=dict(type='MobileNetV1', widen_factor=0.25),
            num_attributes=3,
            data_preprocessor=dict(input_size=32),
        )
    )
    inputs = torch.randn(8, 3, 32, 32)
    samples = [BaseDataElement(attributes=row) for row in torch.rand(8, 3).round()]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = model(inputs, samples, mode='loss')['loss_attributes']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    scores = torch.stack([sample.scores for sample in model(inputs, samples, mode='predict')])
    assert torch.allclose(scores, model(inputs).sigmoid())
    assert all(p.grad is not None for p in model.parameters())


def test_the_metric_leaves_out_what_is_unknown():
    metric = AttributeMetric()
    rows = [((0.9, 0.1), (1, 0)), ((0.8, 0.9), (0, math.nan)), ((0.1, 0.5), (1, 1))]
    metric.process(None, [dict(scores=np.array(s), attributes=np.array(v)) for s, v in rows])
    assert metric.compute_metrics(metric.results)['mAP'] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


@pytest.fixture
def celeba(tmp_path):
    folder = tmp_path / 'img_align_celeba'
    folder.mkdir()
    for number in range(1, 6):
        Image.new('RGB', (178, 218), (number * 40, 0, 0)).save(folder / f'00000{number}.jpg')
    rows = [f'00000{n}.jpg {" ".join(str((-1) ** (n + a)) for a in range(3))}' for n in range(1, 6)]
    (tmp_path / 'list_attr_celeba.txt').write_text('5\nBald Smiling Young\n' + '\n'.join(rows) + '\n')
    splits = ''.join(f'00000{n}.jpg {s}\n' for n, s in zip(range(1, 6), (0, 0, 1, 2, 2), strict=True))
    (tmp_path / 'list_eval_partition.txt').write_text(splits)
    return tmp_path


LOAD = [dict(type='LoadFace', size=32), dict(type='PackFace')]


@pytest.mark.parametrize(('split', 'numbers'), [('train', [1, 2]), ('val', [3]), ('test', [4, 5])])
def test_celebas_files(celeba, split, numbers):
    data = CelebA(split=split, data_root=str(celeba), pipeline=LOAD)
    assert data.metainfo['classes'] == ['Bald', 'Smiling', 'Young']
    samples = [data[i]['data_samples'] for i in range(len(data))]
    assert [sample.file for sample in samples] == [f'00000{n}.jpg' for n in numbers]
    wanted = [[float((-1) ** (n + a) > 0) for a in range(3)] for n in numbers]
    assert [sample.attributes.tolist() for sample in samples] == wanted
    assert data[0]['inputs'].shape == (3, 32, 32)


def test_a_teachers_probabilities_take_the_place_of_labels_for_any_images(celeba):
    np.savez(
        celeba / 't.npz',
        files=['000003.jpg'],
        names=['a', 'b', 'c'],
        attributes=np.array([[0.2, 0.9, np.nan]]),
    )
    data = CelebA(data_root=str(celeba), teacher_file='t.npz', pipeline=LOAD)
    assert len(data) == 1
    assert np.allclose(data[0]['data_samples'].attributes, [0.2, 0.9, np.nan], equal_nan=True)


def test_celebas_files_may_be_wrong(celeba):
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        CelebA(split='dev', data_root=str(celeba))
    (celeba / 'list_eval_partition.txt').write_text('000001.jpg 0\n')
    with pytest.raises(InputError, match=r'does not name 000002\.jpg'):
        CelebA(data_root=str(celeba))
    (celeba / 'list_attr_celeba.txt').write_text('2\nBald\n000001.jpg 1\n')
    with pytest.raises(InputError, match="not in CelebA's format"):
        CelebA(data_root=str(celeba))
    (celeba / 'list_attr_celeba.txt').unlink()
    with pytest.raises(InputError, match='cannot be read'):
        CelebA(data_root=str(celeba))


@pytest.mark.parametrize(
    ('values', 'message'), [(np.ones((1, 2)), r'must be \(1, 1\)'), (np.array([[1.5]]), 'must lie in 0..1')]
)
def test_attribute_files_may_be_wrong(tmp_path, values, message):
    np.savez(tmp_path / 'a.npz', files=['a.jpg'], names=['x'], attributes=values)
    with pytest.raises(InputError, match=message):
        read_attributes(tmp_path / 'a.npz')
    with pytest.raises(InputError, match=message):
        AttributeDataset(data_root=str(tmp_path), ann_file='a.npz')


def test_soft_attributes_are_sides_of_the_main_directions():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(500, 6)) * (9, 5, 3, 1, 1, 1) + 2
    values = soft_attributes(basis, basis, 3)
    assert values.shape == (500, 3)
    for column in range(3):
        correlation = np.corrcoef(values[:, column], basis[:, column])[0, 1]
        assert abs(correlation) > 0.9
        assert abs(values[:, column].mean() - 0.5) < 0.05
    with pytest.raises(ValueError, match=r'count must lie in 1\.\.6, got 7'):
        soft_attributes(basis, basis, 7)


def test_soft_attributes_are_no_more_than_the_basis_differs_in():
    basis = np.random.default_rng(0).normal(size=(5, 8))
    assert soft_attributes(basis, basis, 4).shape == (5, 4)
    with pytest.raises(ValueError, match=r'count must lie in 1\.\.4, got 5'):
        soft_attributes(basis, basis, 5)
    with pytest.raises(ValueError, match='the 3 embeddings of the basis are all the same'):
        soft_attributes(basis, basis[:1].repeat(3, 0), 1)
