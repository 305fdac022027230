"""Networks of other projects, written anew here: their modules' names, and what they compute."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class Source(nn.Module):
    """MobileNetV1 by the paper's table, its modules stored under any names.

    Args:
        names: From row and part (``conv0``, ``bn0``, ``dw``, ``dw_bn``, ``pw``, ``pw_bn``, ``fc``) to a name.
        width: Width multiplier.
        act: Activation.
        classes: Outputs of the classifier.
    """

    def __init__(
        self, names: Callable[[int, str], str], width: float, act: nn.Module, classes: int = 7
    ) -> None:
        super().__init__()
        self.names, self.act = names, act
        channels = [int(c * width) for c in CHANNELS]
        self.parts: dict[str, nn.Module] = {}
        self._add(0, 'conv0', nn.Conv2d(3, channels[0], 3, 2, 1, bias=False))
        self._add(0, 'bn0', nn.BatchNorm2d(channels[0]))
        for row in range(1, 14):
            before, after = channels[row - 1], channels[row]
            self._add(row, 'dw', nn.Conv2d(before, before, 3, STRIDES[row], 1, groups=before, bias=False))
            self._add(row, 'dw_bn', nn.BatchNorm2d(before))
            self._add(row, 'pw', nn.Conv2d(before, after, 1, bias=False))
            self._add(row, 'pw_bn', nn.BatchNorm2d(after))
        self._add(14, 'fc', nn.Linear(channels[-1], classes))

    def _add(self, row: int, part: str, module: nn.Module) -> None:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_in')
        self.parts[self.names(row, part)] = module

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state dict under the names of the source."""
        return {f'{n}.{k}': v for n, module in self.parts.items() for k, v in module.state_dict().items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Fill every module from a state dict of the source."""
        for name, module in self.parts.items():
            module.load_state_dict({k: tensors[f'{name}.{k}'] for k in module.state_dict()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *layers, fc = (module.eval() for module in self.parts.values())
        for layer in layers:
            x = layer(x)
            if isinstance(layer, nn.BatchNorm2d):
                x = self.act(x)
        return fc(x.mean((2, 3)))


_SLOTS = {'conv0': '0', 'bn0': '1', 'dw': '0', 'dw_bn': '1', 'pw': '3', 'pw_bn': '4'}


def sequence(prefix: str, fc: str) -> Callable[[int, str], str]:
    """``model.N.M`` and the like."""
    return lambda row, part: fc if part == 'fc' else f'{prefix}.{row}.{_SLOTS[part]}'


def retinaface(prefix: str) -> Callable[[int, str], str]:
    """``stage1.0.0`` and the like: rows 0..5, 6..11 and 12..13."""

    def name(row: int, part: str) -> str:
        if part == 'fc':
            return f'{prefix}fc'
        stage, first = (1, 0) if row < 6 else (2, 6) if row < 12 else (3, 12)
        return f'{prefix}stage{stage}.{row - first}.{_SLOTS[part]}'

    return name


def pytorchcv(row: int, part: str) -> str:
    """``features.stage2.unit1.dw_conv.conv``."""
    if part == 'fc':
        return 'output'
    kind = 'bn' if 'bn' in part else 'conv'
    if row == 0:
        return f'features.init_block.{kind}'
    stage, first = next((s, f) for s, f in ((5, 12), (4, 6), (3, 4), (2, 2), (1, 1)) if row >= f)
    return f'features.stage{stage}.unit{row - first + 1}.{part[:2]}_conv.{kind}'


def keras_like(row: int, part: str) -> str:
    """``conv_dw_1``, ``conv_dw_1_bn``."""
    if row == 0:
        return 'conv1' if part == 'conv0' else 'conv1_bn'
    return 'fc' if part == 'fc' else f'conv_{part[:2]}_{row}' + ('_bn' if 'bn' in part else '')
