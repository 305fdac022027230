import json

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mbv1_backbone.models.complexity import (
    by_kind,
    count_classifier,
    count_detector,
    count_embedder,
    count_layers,
    total,
)
from mbv1_backbone.training import load_config


def test_shared_and_repeated_layers_count_as_often_as_they_run():
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=True)
    costs = count_layers(conv, lambda: [conv(torch.zeros(1, 4, 5, 7)) for _ in range(3)])
    assert costs[0].mult_adds == 3 * 5 * 7 * 6 * (2 * 9)
    assert costs[0].params == 6 * 2 * 9 + 6


def test_the_mode_and_hooks_are_restored():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).train()
    assert total(count_layers(model, lambda: model(torch.zeros(1, 2)))) == (6, 9 + 6)
    assert model.training
    assert not model[0]._forward_hooks


PAPER = [  # Tables 4 to 9: options, size, mult-adds in millions, params in millions
    (dict(), 224, 569, 4.2),
    (dict(variant='full'), 224, 4866, 29.3),
    (dict(variant='shallow'), 224, 307, 2.9),
    (dict(widen_factor=0.75), 224, 325, 2.6),
    (dict(widen_factor=0.5), 224, 149, 1.3),
    (dict(widen_factor=0.25), 224, 41, 0.5),
    (dict(), 192, 418, 4.2),
    (dict(), 160, 290, 4.2),
    (dict(), 128, 186, 4.2),
    (dict(widen_factor=0.5), 160, 76, 1.32),
]


@pytest.mark.parametrize(('options', 'size', 'mult_adds', 'params'), PAPER)
def test_classifiers_cost_what_the_paper_says(options, size, mult_adds, params):
    ours = total(count_classifier(1000, size, **options))
    assert ours[0] / 1e6 == pytest.approx(mult_adds, rel=0.01)
    digits = len(str(params).partition('.')[2])
    assert ours[1] / 1e6 == pytest.approx(params, abs=max(0.5 * 10**-digits, 0.01 * params))


@pytest.mark.parametrize(
    ('name', 'mult_adds'), [('1.0-160', 290), ('1.0-128', 185), ('0.75-160', 166), ('0.75-128', 106)]
)
def test_embedders_cost_what_their_backbones_cost(name, mult_adds):  # Table 14; its head is not described
    cfg = load_config(f'configs/face/facenet_mbv1_{name}_distill.py')
    ours = total(count_embedder(MODELS.build(dict(cfg.model, _scope_='mmengine'))))
    assert ours[0] / 1e6 == pytest.approx(mult_adds, abs=0.6)


SHARES = {  # Table 2, in percent of mult-adds and params
    'Conv 1x1': (94.86, 74.59),
    'Depthwise 3x3': (3.06, 1.06),
    'Conv 3x3': (1.19, 0.02),
    'Linear': (0.18, 24.33),
}


@pytest.mark.parametrize('kind', SHARES)
def test_layers_have_the_shares_of_table_2(kind):
    costs = count_classifier(1000, 224)
    ours, everything = by_kind(costs)[kind], total(costs)
    for part, whole, share in zip(ours, everything, SHARES[kind], strict=True):
        assert 100 * part / whole == pytest.approx(share, abs=0.8)


DETECTORS = [  # Table 13 as printed: billions of mult-adds, millions of params; it has COCO's 90 class ids
    ('ssd_mbv1_coco', 300, 1.2, 6.8),
    ('faster_rcnn_mbv1_300_coco', 300, 25.2, 6.1),
    ('faster_rcnn_mbv1_600_coco', 600, 30.5, 6.1),
]


@pytest.mark.parametrize(('name', 'size', 'billions', 'millions'), DETECTORS)
def test_detectors_cost_what_table_13_says(name, size, billions, millions):
    init_default_scope('mmdet')
    model = load_config(f'configs/detection/{name}.py').model
    model.get('bbox_head', model.get('roi_head', {}).get('bbox_head')).num_classes = 90
    mult_adds, params = total(count_detector(MODELS.build(model), size, size))
    assert round(mult_adds / 1e9, 1) == billions
    assert round(params / 1e6, 1) == millions


# The last digit that a table prints, in plain units; 0 stands for the other tables.
ROUNDING = {'mult_adds': {0: 1e6, 2: 0, 3: 1e5, 13: 1e8}, 'params': {0: 1e5, 2: 0, 3: 1e4, 9: 1e4}}


def test_every_derivable_cell_is_within_one_percent_or_the_papers_rounding(run):
    cells = json.loads(run('tools/complexity.py', '--paper', '--json').stdout)
    assert {cell['table'] for cell in cells} == {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
    assert len(cells) == 40
    for cell in cells:
        assert cell['derivable'] == (not cell['note'])
        for part in ('mult_adds', 'params') if cell['derivable'] else ():
            paper, rounding = cell[f'paper_{part}'], ROUNDING[part].get(cell['table'], ROUNDING[part][0])
            assert abs(cell[part] - paper) <= max(0.01 * paper, rounding), cell


def test_a_config_is_counted_by_layer_and_kind(run):
    lines = run('tools/complexity.py', 'configs/detection/ssd_mbv1_coco.py').stdout.splitlines()
    assert lines[-1].split() == ['1224.465', 'M', '6673589', 'all']
    assert any('Depthwise 3x3' in line and line.endswith('backbone.rows.13.depthwise.conv') for line in lines)
    assert 'give a config, or --paper' in run('tools/complexity.py', expect=2).stderr
