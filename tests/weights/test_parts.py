"""Weights in several files are known by all of them."""

import json

import numpy as np
import pytest
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.cache import key_of
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights import Weights, read_weights, sources
from mbv1_backbone.weights.cache import sha256_of
from mbv1_backbone.weights.external import import_local
from mbv1_backbone.weights.parts import content_of, parts_of
from mbv1_backbone.weights.sources import local_file
from mbv1_backbone.weights.tfjs import read_tensors


def write_tfjs(folder):
    entry = dict(name='x', shape=[4], dtype='uint8')
    (folder / 'a.bin').write_bytes(bytes(2))
    (folder / 'b.bin').write_bytes(bytes(2))
    path = folder / 'model.json'
    path.write_text(json.dumps(dict(weightsManifest=[dict(paths=['a.bin', 'b.bin'], weights=[entry])])))
    return path, [path, folder / 'a.bin', folder / 'b.bin']


def write_checkpoint(folder):
    parts = [folder / f'm[1].ckpt.{end}' for end in ('index', 'data-00000-of-00002', 'data-00001-of-00002')]
    for part in parts:
        part.write_bytes(b'0')
    (folder / 'm[1].ckpt.meta').write_bytes(b'a graph')
    (folder / 'm1.ckpt.data-00000-of-00001').write_bytes(b'of another')
    return parts[0], parts


@pytest.fixture(params=[write_tfjs, write_checkpoint])
def several(request, tmp_path):
    return request.param(tmp_path)


def test_all_files_are_parts_and_count(several, tmp_path):
    path, parts = several
    assert parts_of(path) == parts
    before, key = content_of(path), key_of(path, None)
    for part in parts[1:]:
        part.write_bytes(b'11')
        assert content_of(path) != before
        assert key_of(path, None) != key
        before, key = content_of(path), key_of(path, None)
    with pytest.raises(InputError, match='is of one file, and a TensorFlow'):
        local_file(f'{path}#sha256={"ab" * 32}')
    for part in parts[1:]:
        part.unlink()
    with pytest.raises(InputError, match=r'beside it|no such file'):
        content_of(path)
    assert key_of(path, None) is None


def test_one_file_is_known_by_its_own_hash(tmp_path):
    path = tmp_path / 'w.json'
    path.write_text('{"not": "a manifest"}')
    assert (parts_of(path), content_of(path)) == ([path], sha256_of(path))


def test_a_model_is_imported_anew_when_a_shard_is_another(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    path, _ = write_tfjs(tmp_path)
    recipe = Recipe(source='x', widen_factor=1.0)

    def read(file):
        return Weights(dict(x=torch.tensor(read_tensors(file)['x'].copy())), recipe)

    monkeypatch.setattr(sources, 'import_weights', read)
    first = import_local(path)
    assert import_local(path) == first
    (tmp_path / 'b.bin').write_bytes(bytes([7, 9]))
    again = read_weights(import_local(path)).state['x']
    np.testing.assert_array_equal(again, [0, 0, 7, 9])
