"""Overrides of a config that change nothing: refused, or said."""

import logging

import pytest
from mmengine.config import Config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.training.overrides import check_overrides


@pytest.fixture
def cfg(tmp_path):
    file = tmp_path / 'small.py'
    file.write_text("max_epochs = 2\ntrain_cfg = dict(max_epochs=max_epochs)\nmodel = dict(type='x')\n")
    return Config.fromfile(file)


@pytest.mark.parametrize('key', ['train_cfg.max_epochs', 'model.type', 'load_from', 'auto_scale_lr.enable'])
def test_what_is_read_is_taken_without_a_word(cfg, key, caplog):
    with caplog.at_level(logging.WARNING):
        check_overrides(cfg, [key])
    assert not caplog.records


@pytest.mark.parametrize('key', ['max_epochs', 'custom_imports.imports'])
def test_variables_that_only_the_file_used_are_said_to_change_nothing(cfg, key, caplog):
    with caplog.at_level(logging.WARNING):
        check_overrides(cfg, [key])
    assert [record.getMessage().startswith(f'--cfg-options {key}: ') for record in caplog.records] == [True]


@pytest.mark.parametrize('key', ['optim_wraper.optimizer.lr', '.a', 'nothing'])
def test_what_nothing_reads_is_refused(cfg, key):
    with pytest.raises(InputError, match='--cfg-options: '):
        check_overrides(cfg, [key])
