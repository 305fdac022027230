"""The head that a student starts with: a ridge regression, by scikit-learn's, and runs that keep theirs."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from support.embedders import build
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.head_fit import FitHeadHook, ridge


@pytest.mark.parametrize('penalty', [1e-6, 0.1])
def test_coefficients_are_those_of_ridge_regression(penalty):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 7)) + 2
    wanted = features @ rng.normal(size=(7, 3)) + 5 + rng.normal(size=(60, 3))
    x = torch.from_numpy(np.column_stack([features, np.ones(60)]))
    found = ridge(x.T @ x, x.T @ torch.from_numpy(wanted), penalty).numpy()
    theirs = Ridge(alpha=penalty * (features**2).sum(0).mean()).fit(features, wanted)
    np.testing.assert_allclose(found[:-1], theirs.coef_.T, atol=1e-8)
    np.testing.assert_allclose(found[-1], theirs.intercept_, atol=1e-8)


def runner_of(model, batches, **cfg):
    from contextlib import nullcontext

    loader = MagicMock(batch_size=8)
    loader.__iter__.side_effect = lambda: iter(batches)
    wrapper = SimpleNamespace(optim_context=lambda model: nullcontext())
    return SimpleNamespace(
        iter=0, cfg=cfg, model=model, train_dataloader=loader, optim_wrapper=wrapper, logger=MagicMock()
    )


def batches_of(teacher, count=24):
    """Random faces, and what a linear teacher says of the features that ``teacher`` has of them."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(count):
        faces = torch.randint(0, 256, (8, 3, 64, 64), generator=generator, dtype=torch.uint8)
        samples = [BaseDataElement(teacher=row) for row in teacher(faces)]
        batches.append(dict(inputs=list(faces), data_samples=samples))
    return batches


def test_a_linear_teacher_is_met_at_once():
    model = build(norm=False)
    turn = torch.randn(model.head.fc.in_features, model.head.fc.out_features)

    @torch.no_grad()
    def teacher(faces):
        inputs = model.eval().data_preprocessor(dict(inputs=list(faces)))['inputs']
        return F.normalize(model.backbone(inputs)[-1].mean((2, 3)) @ turn)

    batches = batches_of(teacher)
    runner = runner_of(model, batches)
    FitHeadHook(images=24 * 8, penalty=1e-9).before_train(runner)
    assert model.training
    data = batches[0]
    with torch.no_grad():
        said = model.eval()(model.data_preprocessor(dict(inputs=data['inputs']))['inputs'])
    wanted = torch.stack([sample.teacher for sample in data['data_samples']])
    assert (said * wanted).sum(1).min() > 0.99


@pytest.mark.parametrize('change', [dict(iter=5), dict(cfg=dict(load_from='a.pth'))])
def test_a_run_that_goes_on_keeps_its_head(change):
    model = build(norm=False)
    before = model.head.fc.weight.clone()
    runner = runner_of(model, batches_of(lambda faces: torch.ones(8, 16)))
    vars(runner).update(change)
    FitHeadHook().before_train(runner)
    assert torch.equal(model.head.fc.weight, before)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match='must be > 0, got 0'):
        FitHeadHook(images=0)
    with pytest.raises(InputError, match='one linear layer'):
        FitHeadHook().before_train(runner_of(build(norm=True), []))
    untaught = [dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[BaseDataElement()])]
    with pytest.raises(InputError, match='a teacher of every training image'):
        FitHeadHook().before_train(runner_of(build(norm=False), untaught))
