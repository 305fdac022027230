"""``mbv1 zoo``: models of other projects, listed and fetched from a mirror."""

import shutil

import pytest
from support.project import ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.cli.zoo import _millions, external_table
from mbv1_backbone.weights import import_weights, read_weights
from mbv1_backbone.weights.external import external_models
from mbv1_backbone.weights.zoo import find_any_config

NAME = 'google/mobilenet_v1_0.25_128'


def test_other_projects_models_have_their_licence_and_source(capsys):
    assert main(['zoo']) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f'{NAME} ')]
    assert row.endswith('Apache-2.0')
    assert all(part in row for part in ('Image Classification', 'ImageNet', '13.6 M', 'top-1 0.45'))
    assert main(['zoo', 'external', '--markdown']) == 0
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(external_models())
    source = 'https://github.com/google-coral/test_data/blob/104342d2d3480b3e66203073dac24f4e2dbb4c41/'
    assert any(f'[`{NAME}`]({source}mobilenet_v1_0.25_128_quant.tflite)' in row for row in rows)


def test_the_docs_have_the_table_of_the_file():
    """Made anew by ``mbv1 zoo external --markdown``."""
    page = (ROOT / 'docs' / 'weights.md').read_text()
    _, _, after = page.partition('<!-- zoo table: mbv1 zoo external --markdown -->\n')
    shown, end, _ = after.partition('\n<!-- /zoo table -->')
    assert end
    assert shown == external_table(markdown=True)


def test_costs_have_three_digits_and_no_exponent():
    assert [_millions(count) for count in (2756674000, 7510000, 645000000, 250000)] == [
        '2760 M',
        '7.51 M',
        '645 M',
        '0.25 M',
    ]


def test_a_model_is_fetched_from_a_mirror(capsys, shared, tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('MBV1_MIRROR', str(tmp_path / 'mirror'))
    source = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite'
    place = tmp_path / 'mirror' / external_models()[NAME].files[0].name
    assert main(['zoo', 'get', NAME]) == 2
    assert f'{place} cannot be downloaded (no such file)' in capsys.readouterr().err
    place.parent.mkdir(parents=True)
    shutil.copyfile(source, place)
    assert main(['zoo', 'get', NAME, '--out', str(tmp_path / 'w.safetensors')]) == 0
    printed = capsys.readouterr().out
    assert 'google-coral/test_data' in printed
    assert 'Apache-2.0' in printed
    assert read_weights(tmp_path / 'w.safetensors').fingerprint == import_weights(source).fingerprint


def test_a_name_without_a_config_says_so(capsys):
    assert main(['zoo', 'get', 'google/nothing']) == 2
    assert 'no such model in the zoo' in capsys.readouterr().err
    with pytest.raises(ValueError, match='weights that no config of the zoo belongs to'):
        find_any_config(NAME)
