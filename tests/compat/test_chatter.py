"""What mmengine warns of, on the terminal or in the log file alone."""

import logging

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mbv1_backbone import MobileNetV1
from mbv1_backbone.compat.chatter import is_chatter
from mbv1_backbone.detection.shared_head import MobileNetV1SharedHead


class Records(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.seen = []

    def emit(self, record):
        self.seen.append(record)


@pytest.fixture
def warned():
    """What is logged and would reach the terminal."""
    logger, records = MMLogger.get_current_instance(), Records()
    logger.addHandler(records)
    yield lambda: (len(records.seen), [r.getMessage() for r in records.seen if not is_chatter(r)])
    logger.removeHandler(records)


@pytest.fixture(scope='module')
def state():
    return MobileNetV1(widen_factor=0.25, out_indices=(13,)).state_dict()


def test_rows_that_are_not_built_stay_off_the_terminal(warned, state):
    logger = MMLogger.get_current_instance()
    load_state_dict(MobileNetV1SharedHead(widen_factor=0.25), dict(state), strict=False, logger=logger)
    backbone = MobileNetV1(widen_factor=0.25, out_indices=(11,))
    load_state_dict(backbone, dict(state), strict=False, logger=logger)
    logged, shown = warned()
    assert (logged, shown) == (2, [])


def test_other_layers_and_missing_ones_are_warned_of(warned, state):
    logger = MMLogger.get_current_instance()
    head = MobileNetV1SharedHead(widen_factor=0.25)
    load_state_dict(head, {**state, 'fc.weight': state['rows.0.conv.weight']}, strict=False, logger=logger)
    few = {name: tensor for name, tensor in state.items() if not name.startswith('rows.12.')}
    load_state_dict(head, few, strict=False, logger=logger)
    _, shown = warned()
    assert len(shown) == 2
    assert 'fc.weight' in shown[0]
    assert 'missing keys in source state_dict: rows.12' in shown[1]


def test_frozen_layers_stay_off_the_terminal(warned):
    model = nn.ModuleDict({'backbone': MobileNetV1(widen_factor=0.25, frozen_stages=2)})
    wrapper = dict(
        optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4), paramwise_cfg=dict(norm_decay_mult=0)
    )
    build_optim_wrapper(model, wrapper)
    logged, shown = warned()
    assert logged > 0
    assert shown == []
