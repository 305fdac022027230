"""Training in bfloat16, on the CPU too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from typing_extensions import override

from mbv1_backbone.common.cpu import bf16_is_fast

__all__ = [
    'BFloat16OptimWrapper',
    'Float32Strided',
    'bfloat16_is_default',
    'precision_of',
    'slow_precision',
    'use_bfloat16',
]


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast, on the CPU or a GPU; weights stay in float32.

    bfloat16 has float32's range, so the gradients need no scaling. mmengine's AmpOptimWrapper
    refuses to run without a GPU. Convolutions that PyTorch gets wrong in bfloat16 run in float32
    (``Float32Strided``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guarded: nn.Module | None = None

    @override
    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        if self._guarded is not model:
            Float32Strided.guard(model)
            self._guarded = model
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


class Float32Strided:
    """Takes strided convolutions out of bfloat16 on the CPU where PyTorch (2.11, oneDNN) fails them.

    Depthwise ones: their gradient by the input is computed by a reference loop, some 30 times as long as in
    float32 (four such layers took 42 % of a training step of this network). All, while their maps are one
    pixel high or wide, as in SSD's last extra layers: the weights' gradient is left uninitialised where the
    kernel meets padding alone, often 0, sometimes NaN.
    """

    def __init__(self) -> None:
        self._left = False

    @classmethod
    def guard(cls, model: nn.Module) -> None:
        """Watch every strided convolution of a model."""
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1:
                watch = cls()
                module.register_forward_pre_hook(watch.leave)
                module.register_forward_hook(watch.enter, always_call=True)

    def leave(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Before the convolution: leave bfloat16 where it is depthwise or its maps are points."""
        (x,) = inputs
        fails = getattr(module, 'groups', 1) > 1 or min(x.shape[-2:]) == 1
        if x.device.type != 'cpu' or not fails or not torch.is_autocast_enabled('cpu'):
            return inputs
        torch.set_autocast_enabled('cpu', False)
        self._left = True
        return (x.float(),)

    def enter(self, _module: nn.Module, _inputs: Any, output: Tensor | None) -> Tensor | None:
        """After the convolution: return to bfloat16 where it was left, with the map too.

        Args:
            output: Of the convolution.
        """
        if not self._left:
            return output
        torch.set_autocast_enabled('cpu', True)
        self._left = False
        return None if output is None else output.bfloat16()


def bfloat16_is_default() -> bool:
    """Whether to train in bfloat16 unless told otherwise: on a CPU that multiplies in it."""
    return not torch.cuda.is_available() and bf16_is_fast()


def precision_of(cfg: Config) -> str:
    """What a config trains in: ``float32``, ``bfloat16`` or ``float16``."""
    kind = str(cfg.optim_wrapper.get('type')).rpartition('.')[2]
    return dict(BFloat16OptimWrapper='bfloat16', AmpOptimWrapper='float16').get(kind, 'float32')


def slow_precision(cfg: Config) -> str | None:
    """One line for whoever asked for bfloat16 on a processor that does not multiply in it, else None.

    The figure was measured on two cores with AVX2: steps of 3.6 s instead of .40 (the demo) to twelve times
    as long (SSD300).
    """
    if precision_of(cfg) != 'bfloat16' or torch.cuda.is_available() or bf16_is_fast():
        return None
    return (
        'bfloat16 was asked for, but this processor does not multiply in it: a step takes 9 to 12 times '
        'as long as in float32, which is the default here (leave out --amp)'
    )


def use_bfloat16(cfg: Config) -> None:
    """Switch a config to mixed precision: bfloat16, or scaled float16 on GPUs without bfloat16."""
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
