"""Tables of models and configs, which are made, not written."""

import re

import pytest
from support.project import ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.cli.zoo import CONFIG_COLUMNS, model_rows, model_table, table
from mbv1_backbone.common.resources import config_names
from mbv1_backbone.weights.zoo import find_checkpoint, zoo_names


def test_the_readme_has_the_table_of_the_metafile():
    """Made anew by ``mbv1 zoo --markdown``."""
    readme = (ROOT / 'README.md').read_text()
    _, _, after = readme.partition('<!-- zoo table: mbv1 zoo --markdown -->\n')
    shown, end, _ = after.partition('\n<!-- /zoo table -->')
    assert end
    assert shown == model_table(markdown=True)


def test_models_are_listed_with_their_figures(capsys):
    assert main(['zoo']) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split('  ')[0] == 'name'
    assert [line.split()[0] for line in lines] == zoo_names()
    [cells] = [line for line in lines if line.startswith('ssd_mbv1_0.75_tf_bccd')]
    for cell in ('Object Detection', '645 M', '3.2 M', 'box AP 0.536, box AP50 0.842 (BCCD test)'):
        assert cell in cells


@pytest.mark.parametrize('row', model_rows(), ids=lambda row: row[0])
def test_costs_are_those_of_the_card(row):
    name, _, _, mult_adds, params, _, _ = row
    card = (find_checkpoint(name).parent / 'README.md').read_text()
    assert f'| {mult_adds} mult-adds, {params} params |' in card


def test_configs_are_listed_with_what_they_are(capsys):
    assert main(['zoo', 'configs']) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert re.split('  +', header) == list(CONFIG_COLUMNS)
    rows = {line.split()[0]: re.split('  +', line) for line in lines}
    assert list(rows) == config_names()
    assert rows['detection/ssd_mbv1_0.75_tf_bccd.py'][1:] == [
        'SingleStageDetector',
        '0.75',
        '300 x 300',
        'data/bccd',
        'ssd_mbv1_0.75_tf_bccd',
    ]
    assert all(len(row) >= 5 for row in rows.values())


def test_a_table():
    rows = [('a', 'b'), ('longer', '')]
    assert table(('x', 'second'), rows) == 'x       second\na       b\nlonger'
    assert table(('x', 'second'), rows, markdown=True) == (
        '| x | second |\n| --- | --- |\n| a | b |\n| longer |  |'
    )
