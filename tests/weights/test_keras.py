"""Keras' own MobileNet, written by Keras and imported, by what both compute."""

import os

import h5py
import numpy as np
import pytest
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.keras import keras_url
from mbv1_backbone.weights.recalibrate import build_network

os.environ.setdefault('KERAS_BACKEND', 'torch')
keras = pytest.importorskip('keras')


def write(model, path):
    """A file laid out as the released ones: a group a layer, its weights by name inside."""
    with h5py.File(path, 'w') as file:
        for layer in model.layers:
            for weight in layer.weights:
                name = 'depthwise_kernel' if 'dw' in layer.name and weight.name == 'kernel' else weight.name
                file[f'{layer.name}/{layer.name}/{name}:0'] = keras.ops.convert_to_numpy(weight)


@pytest.fixture(scope='module')
def model():
    generator = np.random.default_rng(0)
    net = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(128, 128, 3), classes=9)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, var = layer.get_weights()
            drawn = [generator.uniform(0.5, 2, gamma.shape), generator.normal(0, 0.3, beta.shape)]
            layer.set_weights(
                [*drawn, generator.normal(0, 0.3, mean.shape), generator.uniform(0.5, 2, var.shape)]
            )
    return net


def test_the_import_gives_keras_own_probabilities(model, tmp_path):
    path = tmp_path / 'mobilenet_2_5_128_tf.h5'
    write(model, path)
    weights = import_weights(path)
    assert (weights.recipe.widen_factor, weights.recipe.input_size) == (0.25, 128)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 128, 128, 3)).astype(np.float32)
    theirs = keras.ops.convert_to_numpy(model(images))
    ours = build_network(weights)(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_file_without_top_has_no_head(model, tmp_path):
    path = tmp_path / 'mobilenet_2_5_128_tf_no_top.h5'
    write(keras.Model(model.input, model.get_layer('conv_pw_13_relu').output), path)
    weights = import_weights(f'keras://{path}')
    assert not any(name.startswith('head') for name in weights.state)
    assert sum(name.endswith('conv.weight') for name in weights.state) == 27


def test_a_lost_tensor_is_named(model, tmp_path):
    write(model, tmp_path / 'x.h5')
    with h5py.File(tmp_path / 'x.h5', 'a') as file:
        del file['conv_pw_3/conv_pw_3/kernel:0']
    with pytest.raises(InputError, match=r'rows\.3\.pointwise\.conv\.weight stays empty'):
        import_weights(tmp_path / 'x.h5')


def test_a_file_that_was_cut_is_refused(model, tmp_path):
    write(model, tmp_path / 'x.h5')
    content = (tmp_path / 'x.h5').read_bytes()
    (tmp_path / 'x.h5').write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match='damaged HDF5 file'):
        import_weights(tmp_path / 'x.h5')


@pytest.mark.parametrize('name', ['mobilenet_1_0_224_tf', 'mobilenet_7_5_128_tf_no_top.h5'])
def test_a_released_name_has_an_address(name):
    assert keras_url(name).endswith(f'/mobilenet/{name.removesuffix(".h5")}.h5')


def test_another_name_is_refused():
    with pytest.raises(InputError, match='the released files are'):
        import_weights('keras://mobilenet_v2')


def test_a_file_that_declares_terabytes_is_not_read(tmp_path):
    with h5py.File(tmp_path / 'x.h5', 'w') as file:
        file.create_dataset('conv1/conv1/kernel:0', (2**20, 2**20), np.float32, chunks=(64, 64))
    with pytest.raises(InputError, match=r'kernel:0 is float32 \(1048576, 1048576\), no tensor of MobileNet'):
        import_weights(tmp_path / 'x.h5')


def test_a_file_of_texts_is_one_line(tmp_path):
    with h5py.File(tmp_path / 'x.h5', 'w') as file:
        file['conv1/conv1/kernel:0'] = ['a', 'b']
    with pytest.raises(InputError, match='no tensor of MobileNet'):
        import_weights(tmp_path / 'x.h5')
