"""Configs of our own as bases of a user's, in any folder, in our commands and in mmdet's."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.utils import get_installed_path
from support.project import ROOT, TINY

import mbv1_backbone
from mbv1_backbone.compat import hooks

BASE = 'mbv1_backbone::detection/ssd_mbv1_coco.py'
OURS = ROOT / 'configs' / 'detection' / 'ssd_mbv1_coco.py'
# mmdet's own tools read a config before they import what it names, so that the base itself imports us.
IMPORTING = "_base_ = __import__('mbv1_backbone') and {base!r}\n"


def test_a_base_is_our_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').write_text(f'_base_ = {BASE!r}\nmodel = dict(backbone=dict(widen_factor=0.5))\n')
    found, ours = Config.fromfile('mine.py').to_dict(), Config.fromfile(str(OURS)).to_dict()
    assert found['model']['backbone'].pop('widen_factor') == 0.5
    ours['model']['backbone'].pop('widen_factor', None)
    assert found == ours


def test_variables_of_a_base_are_built_where_ours_are(tmp_path):
    (tmp_path / 'mine.py').write_text(f'_base_ = [{BASE!r}]\npipeline = _base_.test_pipeline\n')
    pipeline = Config.fromfile(str(tmp_path / 'mine.py')).pipeline
    assert [step.get('_scope_') for step in pipeline] == [None] * len(pipeline)


def test_an_unknown_base_names_it(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mbv1_backbone::detection/ssd_mbv1_cocoa.py'\n")
    with pytest.raises(mbv1_backbone.InputError, match='did you mean ssd_mbv1_coco'):
        Config.fromfile(str(tmp_path / 'mine.py'))


def test_other_packages_bases_are_mmengines(tmp_path):
    hooks.install()  # a second time
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    assert Config.fromfile(str(tmp_path / 'mine.py')).default_scope == 'mmdet'
    (tmp_path / 'mine.py').write_text("_base_ = 'nobody::_base_/default_runtime.py'\n")
    with pytest.raises(AssertionError, match='does not support to load nobody'):
        Config.fromfile(str(tmp_path / 'mine.py'))


@pytest.mark.slow
def test_mmdets_own_train_py_takes_our_config(tmp_path, demo_data, run):
    text = TINY.replace('_base_ = {base!r}\n', IMPORTING)
    (tmp_path / 'mine.py').write_text(
        text.format(base='mbv1_backbone::detection/ssd_mbv1_demo.py', augmentation='')
    )
    splits = ('train', 'val', 'test')
    options = [f'{split}_dataloader.dataset.data_root={demo_data}/' for split in splits]
    options += [f'{s}_evaluator.ann_file={demo_data}/annotations/val.json' for s in splits[1:]]
    tool = Path(get_installed_path('mmdet')) / '.mim' / 'tools' / 'train.py'
    options.append('train_cfg.max_epochs=1')
    run(tool, tmp_path / 'mine.py', '--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
