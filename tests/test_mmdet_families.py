"""Every family of mmdet's trains a step and predicts on MobileNetV1, or has a reason not to be tried."""

import math

import pytest
from support import mmdet_families
from support.mmdet_families import CONFIGS, FAMILIES, OTHERS, train_and_predict
from support.project import ROOT

# One for each operator that stands in for mmcv's; all of them take a minute.
QUICK = 'carafe', 'centernet', 'dyhead', 'pisa', 'reppoints'
# What mmdet and mmcv have torch and numpy complain of.
pytestmark = pytest.mark.filterwarnings('default')


@pytest.mark.parametrize(
    'family', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_family_trains_a_step_and_predicts(family):
    if family == 'boxinst':
        pytest.importorskip('skimage', reason='BoxInst asks for scikit-image')
    loss, results = train_and_predict(family)
    assert math.isfinite(loss)
    assert len(results) == 1
    assert 'pred_instances' in results[0] or 'pred_panoptic_seg' in results[0]


def test_every_folder_of_mmdets_is_accounted_for():
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    others = [name for names in OTHERS.values() for name in names]
    assert sorted([*FAMILIES, *others]) == sorted(folders)


def test_the_table_of_families_is_that_of_the_census():
    page = (ROOT / 'docs' / 'in-your-project.md').read_text()
    for names in (FAMILIES, *OTHERS.values()):
        assert ', '.join(f'`{name}`' for name in names) in page.replace('\n', ' ')
    assert all(reason in page for reason in OTHERS)


def test_a_family_has_our_backbone():
    backbone = mmdet_families.adapted('retinanet').model.backbone
    assert (backbone.type, backbone.out_indices) == ('MobileNetV1', (3, 5, 11, 13))
