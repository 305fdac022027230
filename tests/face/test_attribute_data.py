"""Lists of attributes, people in them, and labels made of probabilities."""

import numpy as np
import pytest
from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import config_names, find_config
from mbv1_backbone.face import AttributeDataset, AttributeMetric
from mbv1_backbone.face.attribute_data import read_attributes

LIST = 'file,Smiling,Bald\nA_Person/A_Person_0001.jpg,0.75,\nB_Person/B_Person_0001.jpg,0.5,0.125\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'soft.csv').write_text(LIST)
    (tmp_path / 'train.txt').write_text('A_Person\nNobody_Else\n')
    return tmp_path


def test_a_list_has_a_column_for_each_attribute_and_empty_cells_are_unknown(folder):
    files, names, values = read_attributes(folder / 'soft.csv')
    assert files == ['A_Person/A_Person_0001.jpg', 'B_Person/B_Person_0001.jpg']
    assert names == ['Smiling', 'Bald']
    assert np.array_equal(values, np.array([[0.75, np.nan], [0.5, 0.125]], np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('file,Bald\na.jpg,yes\n', r"line 2: Bald is no number: 'yes'"),
        ('file,Bald\na.jpg,1.5\n', r'must lie in 0\.\.1, or be unknown; a\.jpg has 1\.5 of Bald'),
        ('file,Bald\na.jpg,1\na.jpg,0\n', r'a\.jpg is named twice'),
        ('file\na.jpg\n', 'has no column of an attribute beside file'),
        ('file,Bald\n', 'has no rows'),
        ('image,Bald\na.jpg,1\n', 'there is no file in its first line'),
    ],
)
def test_lists_may_be_wrong(content, message, tmp_path):
    (tmp_path / 'soft.csv').write_text(content)
    with pytest.raises(InputError, match=message):
        read_attributes(tmp_path / 'soft.csv')


def test_images_of_some_people_and_labels_of_probabilities(folder):
    given = dict(data_root=str(folder), ann_file='soft.csv', serialize_data=False)
    both = AttributeDataset(hard=True, **given)
    assert both.metainfo['classes'] == ['Smiling', 'Bald']
    values = np.array([entry['attributes'] for entry in both.load_data_list()])
    assert np.array_equal(values, np.array([[1, np.nan], [0, 0]]), equal_nan=True)
    [entry] = AttributeDataset(identities_file='train.txt', **given).load_data_list()
    assert entry['file'] == 'A_Person/A_Person_0001.jpg'
    assert entry['attributes'][0] == 0.75
    (folder / 'train.txt').write_text('Nobody_Else\n')
    with pytest.raises(InputError, match=r'train\.txt: .*soft\.csv has no image of these people'):
        AttributeDataset(identities_file='train.txt', **given)


def test_attributes_of_few_images_are_left_out_of_the_mean():
    metric = AttributeMetric(min_images=2)
    rows = [((0.9, 0.2), (1, 1)), ((0.8, 0.9), (0, 0)), ((0.1, 0.5), (1, 0)), ((0.0, 0.1), (0, 0))]
    metric.process(None, [dict(scores=np.array(s), attributes=np.array(v)) for s, v in rows])
    figures = metric.compute_metrics(metric.results)
    assert figures == pytest.approx(dict(mAP=(1 + 2 / 3) / 2, chance=0.5))
    with pytest.raises(ValueError, match='min_images must be at least 1, got 0'):
        AttributeMetric(min_images=0)


GRID = [
    name for name in config_names() if name.startswith('face/') and name.endswith(('_lfw.py', '_utkface.py'))
]


def test_configs_have_one_size_and_the_width_of_their_name():
    assert len(GRID) >= 14
    for name in GRID:
        cfg = Config.fromfile(find_config(name))
        width, size = name.split('mbv1_')[1].removeprefix('shallow_').split('_')[0].split('-')
        assert cfg.model.backbone.widen_factor == float(width)
        assert cfg.model.backbone.get('variant', 'separable') == (
            'shallow' if 'shallow' in name else 'separable'
        )
        pipelines = [cfg[f'{part}_dataloader'].dataset.pipeline for part in ('train', 'val', 'test')]
        sizes = [pipelines[0][2].size, pipelines[1][0].size, pipelines[2][0].size]
        assert {cfg.model.data_preprocessor.input_size, *sizes} == {int(size)}, name
        assert cfg.test_dataloader.dataset.ann_file == cfg.val_dataloader.dataset.ann_file
        assert cfg.train_dataloader.dataset != cfg.val_dataloader.dataset
