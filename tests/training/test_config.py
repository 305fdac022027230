from pathlib import Path

import pytest
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training import load_config, require_data
from mbv1_backbone.training.config import set_data_root

CONFIGS = [
    *('ssd_mbv1_coco', 'ssd_mbv1_focal_coco', 'ssdlite_mbv1_coco', 'ssd_mbv1_bccd', 'ssd_mbv1_demo'),
    *('faster_rcnn_mbv1_300_coco', 'faster_rcnn_mbv1_600_coco', 'faster_rcnn_mbv1_fpn_coco'),
    *('retinanet_mbv1_fpn_640_coco', 'ssd_mbv1_0.75_tf_coco'),
    *('ssd_mbv1_0.75_tf_bccd', 'faster_rcnn_mbv1_300_bccd', 'faster_rcnn_mbv1_fpn_bccd'),
    *('mask_rcnn_mbv1_fpn_coco', 'mask_rcnn_mbv1_fpn_pennfudan'),
]


def path(name):
    return f'configs/detection/{name}.py'


@pytest.mark.parametrize('name', CONFIGS)
def test_depthwise_filters_do_not_decay_and_all_else_does(name):
    """Paper, 3.2; seen on the groups of the optimizer that the config builds."""
    from mmengine.optim import build_optim_wrapper

    init_default_scope('mmdet')
    cfg = load_config(path(name))
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decay = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    depthwise = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
    }
    assert len(depthwise) >= 13
    for parameter in (p for p in model.parameters() if p.requires_grad):  # none of frozen rows
        expected = 0 if id(parameter) in depthwise else cfg.optim_wrapper.optimizer.weight_decay
        assert decay[id(parameter)] == expected


def test_the_option_can_be_turned_off():
    from mmengine.optim import build_optim_wrapper

    init_default_scope('mmdet')
    cfg = load_config(path('ssd_mbv1_coco'), {'optim_wrapper.paramwise_cfg': None})
    groups = build_optim_wrapper(MODELS.build(cfg.model), cfg.optim_wrapper).optimizer.param_groups
    assert {group['weight_decay'] for group in groups} == {4e-5}


def test_data_root_moves_data_sets_and_evaluators():
    cfg = load_config(path('ssd_mbv1_coco'), data_root='/somewhere')
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == '/somewhere'
    assert cfg.val_evaluator.ann_file == '/somewhere/annotations/instances_val2017.json'
    assert cfg.test_evaluator.ann_file == '/somewhere/annotations/instances_val2017.json'


def test_data_root_reaches_wrapped_data_sets():
    cfg = load_config(path('ssd_mbv1_coco'))
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=5, dataset=inner)
    set_data_root(cfg, '/elsewhere')
    assert cfg.train_dataloader.dataset.dataset.data_root == '/elsewhere'
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, inner])
    set_data_root(cfg, '/third')
    assert [d.data_root for d in cfg.train_dataloader.dataset.datasets] == ['/third', '/third']


def test_missing_data_says_what_was_looked_for_and_where_it_comes_from(tmp_path):
    cfg = load_config(path('ssd_mbv1_coco'), data_root=str(tmp_path))
    with pytest.raises(InputError) as raised:
        require_data(cfg, 'train_dataloader')
    message = str(raised.value)
    assert f'{tmp_path}/annotations/instances_train2017.json does not exist' in message
    assert '--data-root' in message
    assert 'cocodataset.org' in message
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train2017.json').touch()
    with pytest.raises(InputError, match='train2017 does not exist'):
        require_data(cfg, 'train_dataloader')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model.backbone.widen_factor': 0.5},
            r'model.neck.in_channels=.*must be \(256, 512\).*widen_factor=0.5',
        ),
        ({'model.backbone.out_indices': (5, 11)}, r'must be \(256, 512\).*out_indices=\(5, 11\)'),
        ({'model.backbone.out_indices': (11, 14)}, r'out_indices must lie in -14..13.*14'),
    ],
)
def test_layers_that_do_not_fit_the_taps_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_config(path('ssd_mbv1_coco'), options)


def test_a_broken_config_is_named(tmp_path):
    with pytest.raises(InputError, match=r'config none\.py: no such file'):
        load_config('none.py')
    for content in ('model = dict(', "_base_ = 'missing.py'"):
        (tmp_path / 'broken.py').write_text(content)
        with pytest.raises(InputError, match=r'broken\.py|missing\.py'):
            load_config(tmp_path / 'broken.py')


def test_a_copy_of_our_config_is_told_where_its_bases_are(tmp_path):
    copy = tmp_path / 'mine.py'
    content = Path(path('ssd_mbv1_custom')).read_text()
    copy.write_text(content)
    with pytest.raises(
        InputError,
        match=r'its base _base_/models/ssd300_mbv1\.py is not there \(/.*'
        r'ours is mbv1_backbone::detection/_base_/models/ssd300_mbv1\.py$',
    ):
        load_config(copy)
    copy.write_text(content.replace("'_base_/", "'mbv1_backbone::detection/_base_/"))
    assert load_config(copy).model.bbox_head.num_classes == 6
    copy.write_text("_base_ = '{{ fileDirname }}/other.py'")
    (tmp_path / 'other.py').write_text(f"_base_ = '{Path(path('ssd_mbv1_custom')).resolve()}'")
    assert load_config(copy).model.bbox_head.num_classes == 6


def test_work_dir_defaults_to_the_configs_name():
    assert load_config(path('ssd_mbv1_coco')).work_dir == 'work_dirs/ssd_mbv1_coco'
    assert load_config(path('ssd_mbv1_coco'), work_dir='x').work_dir == 'x'


@pytest.mark.parametrize(
    'options',
    [
        {'out_channels': [256, 512, 256]},
        {'out_channels': [7, 512, 256, 128, 128, 64]},
        {'out_channels': [256, 512]},
        {'level_strides': [2]},
    ],
)
def test_levels_of_the_ssd_neck_that_do_not_fit_are_named(options):
    options = {f'model.neck.{name}': value for name, value in options.items()}
    with pytest.raises(InputError, match=r'model\.neck\.out_channels=\(.* must be in_channels=\(256, 512\)'):
        load_config(path('ssd_mbv1_demo'), options)


def test_channels_of_the_ssd_neck_may_be_a_list():
    cfg = load_config(path('ssd_mbv1_demo'), {'model.neck.out_channels': [256, 512, 128, 128, 64, 64]})
    init_default_scope('mmdet')
    assert len(MODELS.build(cfg.model.neck).extra_layers) == 4
