"""Devices that an operator's tests run on."""

import pytest
import torch

DEVICES = [
    'cpu',
    pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')),
]
