"""Training in bfloat16, on the CPU too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mbv1_backbone.deploy.sessions import bf16_is_fast


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast, on the CPU or a GPU; weights stay in float32.

    bfloat16 has float32's range, so the gradients need no scaling. mmengine's AmpOptimWrapper
    refuses to run without a GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def bfloat16_is_default() -> bool:
    """Whether to train in bfloat16 unless told otherwise: on a CPU that multiplies in it."""
    return not torch.cuda.is_available() and bf16_is_fast()


def use_bfloat16(cfg: Config) -> None:
    """Switch a config to mixed precision: bfloat16, or scaled float16 on GPUs without bfloat16."""
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
