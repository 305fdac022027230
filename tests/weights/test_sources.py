"""URLs, the cache, and what is said without a network."""

import functools
import hashlib
import http.server
import threading

import pytest
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.cache import fetch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def site(tmp_path):
    """A server of one folder on this machine."""
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'file').write_bytes(b'weights')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'site')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_a_file_is_fetched_once(site, cache, tmp_path):
    path = fetch(f'{site}/file', 'w.bin')
    assert path == cache / 'w.bin'
    (tmp_path / 'site' / 'file').write_bytes(b'newer')
    assert fetch(f'{site}/file', 'w.bin').read_bytes() == b'weights'
    assert sorted(p.name for p in cache.iterdir()) == ['w.bin', 'w.bin.sha256']


def test_a_known_hash_is_held(site):
    right = hashlib.sha256(b'weights').hexdigest()
    assert fetch(f'{site}/file', 'w.bin', right).is_file()
    with pytest.raises(InputError, match='instead of 00'):
        fetch(f'{site}/file', 'other.bin', '00')


def test_a_file_that_changed_in_the_cache_is_refused(site, cache):
    fetch(f'{site}/file', 'w.bin')
    (cache / 'w.bin').write_bytes(b'wEights')
    with pytest.raises(InputError, match='has SHA-256'):
        fetch(f'{site}/file', 'w.bin')


def test_a_missing_file_is_one_line_and_leaves_nothing(site, cache):
    with pytest.raises(InputError, match=r'cannot be downloaded \(File not found\).*put the file at'):
        fetch(f'{site}/nothing', 'w.bin')
    assert not list(cache.iterdir())


def test_without_a_network_the_message_says_where_to_put_the_file(cache):
    with pytest.raises(InputError, match='without a network, put the file at') as caught:
        fetch('http://127.0.0.1:9/file', 'w.safetensors')
    assert str(cache / 'w.safetensors') in str(caught.value)


def test_a_file_put_into_the_cache_by_hand_serves_the_url(cache):
    import timm
    from safetensors.torch import save_file

    cache.mkdir()
    name = 'mobilenetv1_100.ra4_e3600_r224_in1k'
    state = timm.create_model('mobilenetv1_100', num_classes=2).state_dict()
    save_file(state, cache / f'{name}.safetensors')
    weights = import_weights(f'timm://{name}')
    assert torch.equal(weights.state['rows.0.conv.weight'], state['conv_stem.weight'])
    with pytest.raises(InputError, match='instead of abc'):
        import_weights(f'timm://{name}#sha256=abc')


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
