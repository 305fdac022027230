"""Our own file: tensors, recipe and fingerprint together."""

import pytest
import torch
from safetensors.torch import save_file

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights import Weights, fingerprint, read_weights, write_weights

STATE = {
    'rows.0.conv.weight': torch.arange(6.0).reshape(2, 3),
    'half': torch.ones(2).half(),
    'n': torch.tensor(3),
}
RECIPE = Recipe(
    'test', 0.5, 'same', dict(type='ReLU6'), 1e-3, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 192, False, 0
)


def test_a_file_gives_back_what_was_written(tmp_path):
    weights = Weights(STATE, RECIPE, classes=('a', 'b'))
    write_weights(weights, tmp_path / 'w.safetensors')
    back = read_weights(tmp_path / 'w.safetensors')
    assert back.recipe == RECIPE
    assert back.classes == ('a', 'b')
    assert back.fingerprint == weights.fingerprint
    for name, tensor in STATE.items():
        assert back.state[name].dtype == tensor.dtype
        assert torch.equal(back.state[name], tensor)


@pytest.mark.parametrize(
    'change',
    [
        lambda s: s | {'n': torch.tensor(4)},
        lambda s: s | {'half': torch.ones(2)},
        lambda s: s | {'rows.0.conv.weight': s['rows.0.conv.weight'].reshape(3, 2)},
        lambda s: {('m' if k == 'n' else k): v for k, v in s.items()},
    ],
    ids=['value', 'type', 'shape', 'name'],
)
def test_a_fingerprint_is_of_values_types_shapes_and_names(change):
    assert fingerprint(change(dict(STATE))) != fingerprint(STATE)


def test_a_fingerprint_does_not_depend_on_order_or_memory_layout():
    shuffled = dict(reversed(STATE.items()))
    shuffled['rows.0.conv.weight'] = STATE['rows.0.conv.weight'].T.contiguous().T
    assert fingerprint(shuffled) == fingerprint(STATE)


def test_a_file_that_was_changed_is_refused(tmp_path):
    path = tmp_path / 'w.safetensors'
    write_weights(Weights(STATE, RECIPE), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # a bit of a tensor
    path.write_bytes(content)
    with pytest.raises(InputError, match='not those of its fingerprint'):
        read_weights(path)


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = tmp_path / 'w.safetensors'
    write_weights(Weights(STATE, RECIPE), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match='not a readable safetensors file'):
        read_weights(path)


def test_somebody_elses_safetensors_are_not_ours(tmp_path):
    save_file(STATE, tmp_path / 'w.safetensors')
    assert read_weights(tmp_path / 'w.safetensors') is None


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'\.safetensors'):
        write_weights(Weights(STATE, RECIPE), tmp_path / 'w.pth')


def test_a_file_says_its_kind_where_it_is_known(tmp_path):
    for kind in ('classifier', None):
        write_weights(Weights(STATE, RECIPE, kind=kind), tmp_path / 'w.safetensors')
        assert read_weights(tmp_path / 'w.safetensors').kind == kind
