"""What every training run uses: configs, checkpoints, precision, curves. Importing it registers the hooks."""

from mbv1_backbone.training.checkpoint import (
    SafeCheckpointHook,
    latest_checkpoint,
    load_weights,
    read_checkpoint,
)
from mbv1_backbone.training.config import load_config, require_data, use_pretrained
from mbv1_backbone.training.curves import CurvesHook
from mbv1_backbone.training.precision import BFloat16OptimWrapper, bfloat16_is_default, use_bfloat16
from mbv1_backbone.training.publish import published
from mbv1_backbone.training.run import build_runner, evaluate, resume_from, scale_learning_rate, train

__all__ = [
    'BFloat16OptimWrapper',
    'CurvesHook',
    'SafeCheckpointHook',
    'bfloat16_is_default',
    'build_runner',
    'evaluate',
    'latest_checkpoint',
    'load_config',
    'load_weights',
    'published',
    'read_checkpoint',
    'require_data',
    'resume_from',
    'scale_learning_rate',
    'train',
    'use_bfloat16',
    'use_pretrained',
]
