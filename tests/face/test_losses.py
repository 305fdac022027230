"""Losses against loops over anchors, positives and negatives, written from the papers."""

import math

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch.nn import functional as F

import mbv1_backbone  # noqa: F401


def batch(labels, dims=8, seed=0, **fields):
    torch.manual_seed(seed)
    embeddings = F.normalize(torch.randn(len(labels), dims)).requires_grad_()
    samples = [BaseDataElement(label=label) for label in labels]
    for name, values in fields.items():
        for sample, value in zip(samples, values, strict=True):
            sample.set_field(value, name)
    return embeddings, samples


@pytest.mark.parametrize('margin', [0.2, 0.8])
@pytest.mark.parametrize('seed', range(3))
def test_triplets_are_all_semi_hard_ones(seed, margin):
    labels = [0, 0, 0, 1, 1, 2, 2, 2]
    embeddings, samples = batch(labels, seed=seed)
    losses = []
    for a in range(8):
        for p in range(8):
            for n in range(8):
                if a != p and labels[a] == labels[p] and labels[a] != labels[n]:
                    near = (embeddings[a] - embeddings[p]).square().sum()
                    far = (embeddings[a] - embeddings[n]).square().sum()
                    if near < far <= near + margin:
                        losses.append(near - far + margin)
    loss = MODELS.build(dict(type='SemiHardTripletLoss', margin=margin, weight=2.0))(embeddings, samples)
    assert len(losses) > 2
    positive = [value for value in losses if value > 0]
    assert loss.item() == pytest.approx(2 * (sum(positive) / len(positive)).item(), rel=1e-4)


def test_a_batch_without_triplets_costs_nothing():
    embeddings, samples = batch([0, 0, 0])
    loss = MODELS.build(dict(type='SemiHardTripletLoss'))(embeddings, samples)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize('kind', ['ArcFaceLoss', 'CosFaceLoss'])
def test_margins_on_the_softmax(kind):
    labels = [0, 2, 1, 2]
    embeddings, samples = batch(labels)
    loss = MODELS.build(dict(type=kind, num_classes=3, embedding_dims=8, margin=0.3, scale=16.0))
    weights = next(loss.parameters())
    weights = weights if weights.shape == (8, 3) else weights.T
    cosines = embeddings @ F.normalize(weights, dim=0)
    total = 0.0
    for row, label in zip(cosines.tolist(), labels, strict=True):
        angle = math.acos(max(-1, min(1, row[label])))
        right = math.cos(angle + 0.3) if kind == 'ArcFaceLoss' else row[label] - 0.3
        logits = [16 * (right if i == label else c) for i, c in enumerate(row)]
        total += math.log(sum(map(math.exp, logits))) - logits[label]
    assert loss(embeddings, samples).item() == pytest.approx(total / 4, rel=1e-3)


def test_a_label_beyond_the_classes_is_named():
    embeddings, samples = batch([0, 3])
    with pytest.raises(ValueError, match=r'num_classes=3 must be the number of people .* label 3'):
        MODELS.build(dict(type='ArcFaceLoss', num_classes=3, embedding_dims=8))(embeddings, samples)


def test_distillation_is_the_squared_distance_to_the_teacher_of_length_one():
    teacher = torch.randn(3, 8) * 5
    embeddings, samples = batch([0, 1, 2], teacher=teacher)
    wanted = 0.0
    for mine, theirs in zip(embeddings.tolist(), teacher.tolist(), strict=True):
        length = math.sqrt(sum(value * value for value in theirs))
        wanted += sum((a - b / length) ** 2 for a, b in zip(mine, theirs, strict=True))
    loss = MODELS.build(dict(type='DistillationLoss', weight=0.5))
    assert loss(embeddings, samples).item() == pytest.approx(0.5 * wanted / 3, rel=1e-5)
    _, same = batch([0, 1, 2], teacher=embeddings.detach() * 7)
    assert loss(embeddings, same).item() == pytest.approx(0, abs=1e-6)


def test_distillation_says_what_it_misses():
    embeddings, samples = batch([0, 1])
    loss = MODELS.build(dict(type='DistillationLoss'))
    with pytest.raises(ValueError, match='needs teacher_file'):
        loss(embeddings, samples)
    _, samples = batch([0, 1], teacher=torch.randn(2, 5))
    with pytest.raises(ValueError, match="embedding_dims=8 must be the teacher's, 5"):
        loss(embeddings, samples)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='SemiHardTripletLoss', margin=0), 'margin must be > 0, got 0'),
        (dict(type='DistillationLoss', weight=-1), 'weight must be > 0, got -1'),
        (dict(type='CosFaceLoss', num_classes=1), 'num_classes must be at least 2, got 1'),
    ],
)
def test_options_out_of_range(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_losses_are_added_up_under_their_names_and_reach_every_weight():
    model = MODELS.build(
        dict(
            type='FaceEmbeddingModel',
            backbone=dict(type='MobileNetV1', widen_factor=0.25),
            head=dict(embedding_dims=8, norm=True),
            losses=[
                dict(type='SemiHardTripletLoss', margin=1.0),
                dict(type='ArcFaceLoss', num_classes=4),
                dict(type='DistillationLoss'),
            ],
        )
    )
    _, samples = batch([0, 0, 1, 1], teacher=torch.randn(4, 8))
    losses = model(torch.randn(4, 3, 64, 64), samples, mode='loss')
    assert set(losses) == {'loss_triplet', 'loss_arcface', 'loss_distill'}
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
