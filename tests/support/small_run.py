"""A training run of mmengine that takes milliseconds: a line through points, in place of a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import Tensor, nn


@DATASETS.register_module()
class Points(torch.utils.data.Dataset):
    """Eight points; ``poison`` gives one of them a value that is not finite."""

    def __init__(self, metainfo: dict[str, Any] | None = None, poison: float = 0.0) -> None:
        self.metainfo = dict(metainfo or dict(classes=('a', 'b')))
        self.poison = poison

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(inputs=torch.full((2,), index + 1.0 + (self.poison if index == 5 else 0)))


@MODELS.register_module()
class Line(BaseModel):
    """A linear layer whose loss is the distance from 1."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(2, outputs)

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        found = self.layer(torch.stack(list(inputs)))
        return dict(loss=(found - 1).square().mean()) if mode == 'loss' else found


def small_config(work_dir: Path, epochs: int = 2, **changes: Any) -> Config:
    """Two iterations an epoch, a warm-up by iteration and a cosine by epoch, a checkpoint an epoch."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='Points'),
    )
    cfg = Config(
        dict(
            default_scope='mmengine',
            model=dict(type='Line'),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3, momentum=0.9)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
                dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, by_epoch=True),
            ],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            randomness=dict(seed=0),
            experiment_name='small',
        )
    )
    cfg.merge_from_dict(changes)
    return cfg
