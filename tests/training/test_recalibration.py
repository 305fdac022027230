"""Folded batch norms in a run: training keeps the features, and evaluation the predictions."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from support.small_run import small_config
from torch import nn

from mbv1_backbone import MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.training.recalibration import RecalibrateHook
from mbv1_backbone.weights import Weights, write_weights
from mbv1_backbone.weights.targets import folded_norms


@MODELS.register_module(force=True)
class Pooled(BaseModel):
    """A backbone whose loss is the distance of its mean feature from 1; images come from the points."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)

    def images(self, inputs):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(inputs), 3, 96, 96, generator=generator)
        smooth = nn.functional.avg_pool2d(noise, 9, 1, 4) * 4
        return smooth * torch.stack(list(inputs))[:, :1, None, None] / 4

    def forward(self, inputs, mode='tensor'):
        return dict(loss=(self.backbone(self.images(inputs))[-1].mean() - 1).square())


@pytest.fixture
def folded_weights(tmp_path):
    """A network with statistics of its own, folded as a TFLite file has it."""
    net = MobileNetV1(0.25, act_cfg=dict(type='ReLU6'))
    net.init_weights()
    net.train()
    with torch.no_grad():
        for _ in range(30):
            net(nn.functional.avg_pool2d(torch.randn(4, 3, 96, 96), 9, 1, 4) * 4)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(0.3, 0.5)
    state = {k: v.clone() for k, v in net.state_dict().items() if 'tracked' not in k}
    for unit in [name.removesuffix('.bn.bias') for name in state if name.endswith('.bn.bias')]:
        scale = state[f'{unit}.bn.weight'] / (state[f'{unit}.bn.running_var'] + 1e-5).sqrt()
        state[f'{unit}.conv.weight'] *= scale[:, None, None, None]
        state[f'{unit}.bn.bias'] -= scale * state[f'{unit}.bn.running_mean']
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    state |= {name: torch.from_numpy(value) for name, value in folded_norms(shapes, 1e-5).items()}
    write_weights(Weights(state, Recipe('x', 0.25, act_cfg=dict(type='ReLU6'))), tmp_path / 'w.safetensors')
    return str(tmp_path / 'w.safetensors')


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_training_keeps_the_features_of_folded_weights(folded_weights, tmp_path):
    cfg: Config = small_config(tmp_path / 'run')
    cfg.model = dict(
        type='Pooled',
        backbone=dict(
            type='MobileNetV1',
            widen_factor=0.25,
            act_cfg=dict(type='ReLU6'),
            init_cfg=dict(type='Pretrained', checkpoint=folded_weights),
        ),
    )
    cfg.custom_hooks = [dict(type='RecalibrateHook')]
    runner = Runner.from_cfg(cfg)
    _ = runner.train_loop
    model = runner.model
    model.init_weights()
    points = torch.arange(1.0, 9)[:, None].expand(8, 2)
    images = torch.cat([model.images(batch) for batch in points.split(4)])  # what the run is trained on

    def features(training):
        model.backbone._may_be_folded = False
        saved = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            found = model.train(training).backbone(images)[-1]
        model.load_state_dict(saved)
        return found

    before, broken = features(False), features(True)
    RecalibrateHook().before_train(runner)
    after, trained = features(False), features(True)
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    print(f'{correlation(before, broken):.3f} -> {correlation(after, trained):.3f}')
    assert correlation(before, broken) < 0.7
    assert correlation(after, trained) > 0.95
