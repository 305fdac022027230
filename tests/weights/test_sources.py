"""URLs, the cache, and what is said without a network."""

import pytest
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.cache import sha256_of
from mbv1_backbone.weights.sources import local_file
from mbv1_backbone.weights.zoo import get


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_a_file_put_into_the_cache_by_hand_serves_the_url(cache):
    import timm
    from safetensors.torch import save_file

    cache.mkdir()
    name = 'mobilenetv1_100.ra4_e3600_r224_in1k'
    state = timm.create_model('mobilenetv1_100', num_classes=2).state_dict()
    save_file(state, cache / f'{name}.safetensors')
    weights = import_weights(f'timm://{name}')
    assert torch.equal(weights.state['rows.0.conv.weight'], state['conv_stem.weight'])
    with pytest.raises(InputError, match='instead of abab'):
        import_weights(f'timm://{name}#sha256={"ab" * 32}')


def test_every_file_is_held_to_its_hash(tmp_path):
    path, zoo = tmp_path / 'w.safetensors', 'facenet_mbv1_0.25-112_color'
    path.write_bytes(get(zoo).read_bytes())
    right = sha256_of(path)
    for source in (path, f'mbv1://{path}', f'zoo://{zoo}', zoo):
        assert local_file(f'{source}#sha256={right.upper()}').is_file()
        with pytest.raises(InputError, match=f'has SHA-256 {right} instead of abab'):
            local_file(f'{source}#sha256={"ab" * 32}')
        with pytest.raises(InputError, match=r"a SHA-256 is 64 hexadecimal digits, got 'abc'"):
            local_file(f'{source}#sha256=abc')
    (tmp_path / 'm.ckpt.index').write_text('')
    with pytest.raises(InputError, match='a TensorFlow checkpoint has several'):
        local_file(f'{tmp_path / "m.ckpt"}#sha256={right}')


@pytest.mark.parametrize(
    ('source', 'complaint'),
    [
        ('timm://mobilenetv1_100h.ra4_e3600_r224_in1k', 'h variants'),
        ('timm://resnet50.a1_in1k', 'the released ones are mobilenetv1_100'),
        ('keras://mobilenet', 'the released files are'),
        ('ftp://x', 'the schemes are mbv1://'),
        ('nothing.tflite', 'no such file, and no such model in the zoo'),
    ],
)
def test_a_source_that_cannot_be_is_one_line(source, complaint):
    with pytest.raises(InputError, match=complaint):
        import_weights(source)


def test_an_unknown_kind_of_file_is_one_line(tmp_path):
    (tmp_path / 'x.onnx').write_bytes(b'0123456789abcdef')
    with pytest.raises(InputError, match='not a known kind of weights'):
        import_weights(tmp_path / 'x.onnx')
