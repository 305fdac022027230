"""Files of weights that nobody trained: one line, whatever they hold."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.archive import check_archive
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.training import load_weights
from mbv1_backbone.weights import Weights, import_weights, sources, write_weights

STATE = nn.Linear(2, 2).state_dict()
PTH = {
    'list': [STATE],
    'number': 5,
    'int keys': {1: torch.zeros(1), 2: torch.zeros(1)},
    'state_dict 5': dict(state_dict=5),
    'state_dict of numbers': dict(state_dict=dict(weight=1.0)),
    'meta is a list': dict(state_dict=STATE, meta=[1, 2]),
    'meta of a list of classes': dict(state_dict=STATE, meta=dict(dataset_meta=[1])),
    'classes are a number': dict(state_dict=STATE, meta=dict(dataset_meta=dict(classes=7))),
    'classes are numbers': dict(state_dict=STATE, meta=dict(dataset_meta=dict(classes=[1, 2]))),
    'nothing': {},
}


@pytest.mark.parametrize('name', PTH)
def test_a_pth_of_anything_is_one_line(name, tmp_path):
    torch.save(PTH[name], tmp_path / 'x.pth')
    for read in (lambda path: load_weights(nn.Linear(2, 2), path), import_weights):
        with pytest.raises(InputError, match=r'x\.pth') as raised:
            read(tmp_path / 'x.pth')
        assert '\n' not in str(raised.value)


def test_damage_that_pytorch_reads_over_is_found(tmp_path):
    model = nn.Linear(100, 100)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    content = bytearray((tmp_path / 'x.pth').read_bytes())
    middle = content.index(model.weight.detach().numpy().tobytes()[:64]) + 4000
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / 'x.pth').write_bytes(content)
    torch.load(tmp_path / 'x.pth', weights_only=True)
    for read in (lambda path: load_weights(model, path), import_weights):
        with pytest.raises(InputError, match=r'is damaged: .* checksum'):
            read(tmp_path / 'x.pth')


def test_an_archive_that_is_none_of_pytorchs_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('a.txt', 'b')
    with pytest.raises(InputError, match=r'x\.pth'):
        import_weights(tmp_path / 'x.pth')


def undefined(*_):
    return no_such_name  # noqa: F821


def unimported(*_):
    import no_such_module  # noqa: F401


def misnamed(*_):
    return json.no_such_function


@pytest.mark.parametrize('defect', [undefined, unimported, misnamed])
def test_a_defect_of_a_reader_is_not_said_to_be_damage(defect, tmp_path, monkeypatch):
    save_file(STATE, tmp_path / 'x.safetensors')
    monkeypatch.setattr(sources, 'read_safetensors', defect)
    with pytest.raises((NameError, ImportError, AttributeError), match='no_such'):
        import_weights(tmp_path / 'x.safetensors')


def test_a_defect_of_checking_an_archive_is_not_said_to_be_damage(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / 'x.pth')
    monkeypatch.setattr(zipfile.ZipFile, 'testzip', misnamed)
    with pytest.raises(AttributeError, match='no_such_function'):
        check_archive(tmp_path / 'x.pth')


def test_archives_of_damaged_directories_are_read_or_refused_and_nothing_else(tmp_path):
    torch.save(STATE, tmp_path / 'x.pth')
    whole, rng, refused = (tmp_path / 'x.pth').read_bytes(), np.random.default_rng(0), 0
    directory = whole.index(b'PK\x01\x02')
    for _ in range(300):
        content = bytearray(whole)
        for at in rng.integers(directory, len(whole), 3):
            content[at] = rng.choice([0, 1, 2, 8, 127, 255])
        (tmp_path / 'x.pth').write_bytes(content)
        try:
            check_archive(tmp_path / 'x.pth')
        except InputError:
            refused += 1
    assert refused > 100


RECIPE = dict(source='x', widen_factor=0.25)
DESCRIPTIONS = {
    'nested': '[' * 100_000,
    'a list': '[]',
    'no recipe': '{"fingerprint": "x"}',
    'a recipe that is a list': json.dumps(dict(recipe=[1], fingerprint='x')),
    'a recipe of a recipe': json.dumps(dict(recipe=dict(recipe=RECIPE), fingerprint='x')),
    'width as text': json.dumps(dict(recipe=RECIPE | dict(widen_factor='1'), fingerprint='x')),
    'width of infinity': '{"recipe": {"source": "x", "widen_factor": 1e999}, "fingerprint": "x"}',
    'deviation 0': json.dumps(dict(recipe=RECIPE | dict(std=[0, 1, 1]), fingerprint='x')),
    'two means': json.dumps(dict(recipe=RECIPE | dict(mean=[0, 1]), fingerprint='x')),
    'activation': json.dumps(dict(recipe=RECIPE | dict(act_cfg=[]), fingerprint='x')),
    'size': json.dumps(dict(recipe=RECIPE | dict(input_size=10**9), fingerprint='x')),
    'classes': json.dumps(dict(recipe=RECIPE, fingerprint='x', classes=5)),
}


@pytest.mark.parametrize('name', DESCRIPTIONS)
def test_safetensors_with_an_odd_description_are_one_line(name, tmp_path):
    save_file(STATE, tmp_path / 'x.safetensors', {'mbv1_backbone': DESCRIPTIONS[name]})
    with pytest.raises(InputError, match=r'x\.safetensors'):
        import_weights(tmp_path / 'x.safetensors')


def test_mutated_files_of_weights_are_read_or_refused_and_nothing_else(tmp_path):
    """Heads and tails of every kind that is written here: they say how the rest is to be read."""
    rng = np.random.default_rng(0)
    state = {k: v for k, v in MobileNetV1(0.25).state_dict().items() if 'tracked' not in k}
    write_weights(Weights(state, Recipe('x', 0.25)), tmp_path / 'a.safetensors')
    torch.save(dict(state_dict=state, meta=dict(epoch=1)), tmp_path / 'b.pth')
    refused = 0
    for path in (tmp_path / 'a.safetensors', tmp_path / 'b.pth'):
        whole = path.read_bytes()
        for _ in range(40):
            content = bytearray(whole)
            for at in rng.integers(0, 3000, 3):
                content[at if rng.random() < 0.7 else -1 - at] = rng.integers(256)
            path.write_bytes(content)
            try:
                import_weights(path)
            except InputError:
                refused += 1
    assert refused > 40


def test_a_backbone_with_folded_norms_is_not_trained_as_it_is(tmp_path):
    net = MobileNetV1(0.25)
    for name, tensor in net.state_dict().items():
        if name.endswith('bn.bias'):
            tensor.normal_()
    state = {k: v for k, v in net.state_dict().items() if 'tracked' not in k}
    write_weights(Weights(state, Recipe('x', 0.25)), tmp_path / 'w.safetensors')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.safetensors'))
    folded = MobileNetV1(0.25, init_cfg=init_cfg)
    folded.init_weights()
    folded.eval()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match='folded batch norms'):
        folded.train()(torch.zeros(2, 3, 32, 32))
    for options in (dict(norm_eval=True), dict(frozen_stages=13)):
        kept = MobileNetV1(0.25, init_cfg=init_cfg, **options)
        kept.init_weights()
        kept.train()(torch.zeros(2, 3, 32, 32))
