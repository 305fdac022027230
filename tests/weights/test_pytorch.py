"""PyTorch's layouts: our network against the source's, by what they compute."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from support.networks import Source, keras_like, pytorchcv, retinaface, sequence
from torch import nn

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.parity import compare, our_runtime, read_labels
from mbv1_backbone.weights.pytorch import from_state_dict
from mbv1_backbone.weights.recalibrate import build_network, square_batches

LEAKY = nn.LeakyReLU(0.1)


@pytest.mark.parametrize(
    ('names', 'act'),
    [
        (sequence('model', 'fc'), nn.ReLU()),
        (sequence('module.model', 'module.fc'), nn.ReLU()),
        (sequence('features', 'classifier'), nn.ReLU()),
        (pytorchcv, nn.ReLU()),
        (keras_like, nn.ReLU()),
        (retinaface('module.'), LEAKY),
        (retinaface(''), LEAKY),
    ],
    ids=['model.N.M', 'module.', 'features.N.M', 'stage.unit', 'conv_dw_N', 'module.stage', 'stage'],
)
def test_a_layout_gives_the_sources_logits(names, act):
    source = Source(names, 0.25, act)
    weights = from_state_dict(source.tensors(), 'a test')
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(build_network(weights)(images), source(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['mobilenetv1_100', 'mobilenetv1_125'])
def test_timms_networks_give_timms_logits(name):
    source = timm.create_model(name, num_classes=5).eval()
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    weights = from_state_dict(source.state_dict(), 'timm')
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(build_network(weights)(images), source(images), rtol=1e-4, atol=1e-5)
    cfg = source.pretrained_cfg
    assert np.allclose(np.array(weights.recipe.mean) / 255, cfg['mean'], atol=1e-6)
    assert np.allclose(np.array(weights.recipe.std) / 255, cfg['std'], atol=1e-6)


def test_timms_h_variants_are_refused_with_the_reason():
    state = timm.create_model('mobilenetv1_100h').state_dict()
    with pytest.raises(InputError, match='h variants put one more 1x1 convolution'):
        from_state_dict(state, 'h')


def test_the_released_leaky_network_classifies_as_at_its_source(shared):
    """On real photographs: the source's own network (its names, its layers) against ours."""
    path = shared / 'weights' / 'mobilenet_v1_0.25_imagenet_leaky.safetensors'
    source = Source(retinaface('module.'), 0.25, LEAKY, classes=1000)
    source.load(load_file(path))
    weights = import_weights(path)
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    @torch.inference_mode()
    def theirs(images):
        scaled = images.float() / 255
        return source((scaled - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]).numpy()

    files, labels = read_labels(shared / 'imagenet' / 'labels.txt', shared / 'imagenet' / 'images')
    found = compare(our_runtime(weights), theirs, square_batches(files, 224), labels)
    print(found)
    assert found.figures['images'] == 300
    assert found.figures['same_top1'] >= 0.99
    assert found.figures['correlation'] > 0.9999
    assert found.figures['top1'] >= 0.45  # its own record is .466 on ImageNet's validation set
    assert abs(found.figures['top1'] - found.figures['source_top1']) <= 0.01


def test_retinafaces_backbone_takes_rgb_where_it_took_bgr(shared, tmp_path):
    path = shared / 'weights' / 'retinaface_mobilenet0.25.safetensors'
    state = load_file(path)
    source = Source(retinaface('body.'), 0.25, LEAKY)
    source.load(state | {'body.fc.weight': torch.zeros(7, 256), 'body.fc.bias': torch.zeros(7)})
    save_file(
        {name: tensor for name, tensor in state.items() if name.startswith('body.')},
        tmp_path / 'x.safetensors',
    )
    weights = import_weights(tmp_path / 'x.safetensors')
    bgr = torch.randint(0, 256, (2, 3, 64, 64)).float()
    *layers, _ = source.parts.values()
    expected = bgr - torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    for layer in layers:
        expected = layer.eval()(expected)
        expected = LEAKY(expected) if isinstance(layer, nn.BatchNorm2d) else expected
    ours = our_runtime(weights)(bgr.flip(1))
    np.testing.assert_allclose(ours, expected.mean((2, 3)).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_an_unknown_layout_is_one_error():
    with pytest.raises(InputError, match='no known layout of MobileNetV1'):
        from_state_dict({'layer1.weight': torch.ones(1)}, 'x')


def test_a_lost_and_a_foreign_tensor_are_both_named():
    state = Source(sequence('model', 'fc'), 0.25, nn.ReLU()).tensors()
    del state['model.5.3.weight']
    state['extra'] = torch.ones(1)
    with pytest.raises(InputError, match=r'2 tensors.*extra.*rows\.5\.pointwise\.conv\.weight stays empty'):
        from_state_dict(state, 'x')


def test_a_pickle_with_code_is_not_loaded(tmp_path):
    torch.save({'model': nn.Linear(1, 1)}, tmp_path / 'x.pth')
    with pytest.raises(InputError, match='cannot be loaded safely'):
        import_weights(tmp_path / 'x.pth')


def test_files_of_torch_before_1_6_are_read(tmp_path):
    state = timm.create_model('mobilenetv1_100', num_classes=2).state_dict()
    torch.save(state, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    weights = import_weights(tmp_path / 'old.pth')
    assert torch.equal(weights.state['rows.0.conv.weight'], state['conv_stem.weight'])


def test_our_own_tensors_without_their_description_are_not_guessed_in_silence(caplog):
    """As another tool writes them that keeps the tensors alone."""
    state = MobileNetV1(widen_factor=0.25).state_dict()
    weights = from_state_dict(state, 'bare.pth')
    assert weights.recipe.padding == 'symmetric'
    assert (
        'bare.pth: says nothing of how its network is built; the defaults are taken: padding symmetric'
        in (caplog.text)
    )
