"""TensorFlow-slim's names and layouts."""

import sys
from dataclasses import replace

import pytest
import torch
from support.networks import Source, sequence
from torch import nn

from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.recalibrate import build_network
from mbv1_backbone.weights.slim import from_slim

_NORM = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean', 'running_var': 'moving_variance'}


def slim_tensors(source):
    """A network's tensors as slim stores them, with what training leaves beside them."""
    tensors = {'global_step': torch.tensor(3).numpy()}
    for name, module in source.parts.items():
        _, row, slot = (*name.split('.'), '', '')[:3]
        if isinstance(module, nn.Linear):
            scope = 'MobilenetV1/Logits/Conv2d_1c_1x1'
            tensors[f'{scope}/weights'] = module.weight.detach().T[None, None].numpy()
            tensors[f'{scope}/biases'] = module.bias.detach().numpy()
            continue
        part = '' if row == '0' else '_depthwise' if slot in '01' else '_pointwise'
        scope = f'MobilenetV1/Conv2d_{row}{part}'
        if isinstance(module, nn.BatchNorm2d):
            for ours, theirs in _NORM.items():
                tensors[f'{scope}/BatchNorm/{theirs}'] = module.state_dict()[ours].numpy()
        elif module.groups > 1:
            tensors[f'{scope}/depthwise_weights'] = module.weight.detach().permute(2, 3, 0, 1).numpy()
        else:
            tensors[f'{scope}/weights'] = module.weight.detach().permute(2, 3, 1, 0).numpy()
            tensors[f'{scope}/weights/RMSProp'] = module.weight.detach().permute(2, 3, 1, 0).numpy()
            tensors[f'{scope}/weights/ExponentialMovingAverage'] = tensors[f'{scope}/weights']
    return tensors


@pytest.fixture
def source():
    return Source(sequence('model', 'fc'), 0.25, nn.ReLU6())


def test_a_checkpoints_tensors_give_the_same_features(source):
    """With the source's padding, so that only the weights count."""
    for module in source.parts.values():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    weights = from_slim(slim_tensors(source), 'mobilenet_v1_0.25_128.ckpt')
    assert (weights.recipe.padding, weights.recipe.input_size, weights.recipe.background) == ('same', 128, 0)
    weights = replace(weights, recipe=replace(weights.recipe, padding='symmetric'))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(build_network(weights)(images), source(images), rtol=1e-4, atol=1e-4)


def test_what_training_left_is_named_as_left_out(source):
    weights = from_slim(slim_tensors(source), 'x')
    left_out = {move.source for move in weights.moves if move.target is None}
    assert 'global_step' in left_out
    assert 'MobilenetV1/Conv2d_0/weights/RMSProp' in left_out


def test_another_network_is_refused():
    with pytest.raises(InputError, match="not slim's MobileNetV1"):
        from_slim({'resnet/conv1/weights': torch.ones(1).numpy()}, 'x')


def test_a_real_checkpoint_is_read(source, tmp_path):
    tensorflow = pytest.importorskip('tensorflow')
    tensors = slim_tensors(source)
    with tensorflow.Graph().as_default(), tensorflow.compat.v1.Session() as session:
        variables = [tensorflow.compat.v1.Variable(value, name=name) for name, value in tensors.items()]
        session.run(tensorflow.compat.v1.global_variables_initializer())
        tensorflow.compat.v1.train.Saver(variables).save(session, str(tmp_path / 'mobilenet.ckpt'))
    weights = import_weights(tmp_path / 'mobilenet.ckpt')
    expected = from_slim(tensors, 'x')
    assert weights.fingerprint == expected.fingerprint


def test_without_tensorflow_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    monkeypatch.setitem(sys.modules, 'tensorflow.train', None)
    (tmp_path / 'x.ckpt.index').write_bytes(b'')
    with pytest.raises(NotInstalledError, match=r"pip install 'mbv1-backbone\[slim\]'"):
        import_weights(tmp_path / 'x.ckpt')
