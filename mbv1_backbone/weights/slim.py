"""TensorFlow-slim checkpoints of MobileNetV1 (``mobilenet_v1_1.0_224.ckpt``), where tensorflow is installed.

https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import NORM, NORM_NAMES, Rule, as_linear, from_hwcm, from_hwio
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import fill_classifier, widen_factor_of

__all__ = ['RULES', 'from_slim', 'logits_of', 'read_slim', 'recipe_of']

_SCOPE = r'(?:FeatureExtractor/)?MobilenetV1/'

RULES: tuple[Rule, ...] = (
    Rule(r'.*/(?:ExponentialMovingAverage|RMSProp(?:_\d)?|Momentum|Adam(?:_\d)?|local_step|biased)', None),
    Rule(r'global_step|train_op/.*|.*/(?:act_quant|weights_quant)/.*', None),
    Rule(rf'{_SCOPE}Conv2d_0/weights', 'rows.0.conv.weight', from_hwio),
    Rule(rf'{_SCOPE}Conv2d_0/BatchNorm/({NORM_NAMES})', lambda m: f'rows.0.bn.{NORM[m[1]]}'),
    Rule(rf'{_SCOPE}Conv2d_(\d+)_depthwise/depthwise_weights', r'rows.\1.depthwise.conv.weight', from_hwcm),
    Rule(rf'{_SCOPE}Conv2d_(\d+)_pointwise/weights', r'rows.\1.pointwise.conv.weight', from_hwio),
    Rule(
        rf'{_SCOPE}Conv2d_(\d+)_(depthwise|pointwise)/BatchNorm/({NORM_NAMES})',
        lambda m: f'rows.{m[1]}.{m[2]}.bn.{NORM[m[3]]}',
    ),
    Rule(rf'{_SCOPE}Logits/Conv2d_1c_1x1/weights', 'head.fc.weight', as_linear),
    Rule(rf'{_SCOPE}Logits/Conv2d_1c_1x1/biases', 'head.fc.bias'),
)


def read_slim(path: str | os.PathLike[str]) -> Weights:
    """Import a checkpoint.

    Raises:
        NotInstalledError: If tensorflow is missing.
        InputError: If the file is damaged, or the tensors are not those of slim's MobileNetV1.
    """
    try:
        from tensorflow.train import load_checkpoint
    except ImportError as error:
        raise NotInstalledError(
            "reading TensorFlow checkpoints needs tensorflow: pip install 'mbv1-backbone[slim]'"
        ) from error
    prefix = str(path).removesuffix('.index')
    try:
        reader = load_checkpoint(prefix)
        tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except Exception as error:  # tensorflow's errors share no base but this
        raise DamagedFileError(f'{path}: damaged TensorFlow checkpoint: {error}') from error
    return from_slim(tensors, prefix)


def from_slim(tensors: Mapping[str, np.ndarray], subject: str) -> Weights:
    """Import the tensors of a checkpoint, by slim's names.

    Raises:
        InputError: If they are not those of slim's MobileNetV1.
    """
    return fill_classifier(RULES, tensors, recipe_of(tensors, subject), logits_of(tensors), subject)


def logits_of(tensors: Mapping[str, np.ndarray]) -> int | None:
    """How many logits tensors by slim's names have; None of a backbone alone."""
    kernel = next((t for name, t in tensors.items() if name.endswith('Logits/Conv2d_1c_1x1/weights')), None)
    return None if kernel is None else int(kernel.shape[-1])


def recipe_of(tensors: Mapping[str, np.ndarray], subject: str) -> Recipe:
    """What slim's networks ask for: width by the first layer, size by the name.

    Args:
        tensors: By slim's names.
        subject: The source, whose name has the size.

    Raises:
        InputError: If they are not those of slim's MobileNetV1.
    """
    first = next((t for name, t in tensors.items() if re.fullmatch(rf'{_SCOPE}Conv2d_0/weights', name)), None)
    if first is None:
        raise InputError(f"{subject}: no MobilenetV1/Conv2d_0/weights, not slim's MobileNetV1")
    size = re.search(r'_(224|192|160|128)', os.path.basename(subject))
    return Recipe(
        source=f'slim: {os.path.basename(subject)}',
        widen_factor=widen_factor_of(first.shape[-1]),
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_eps=1e-3,
        input_size=int(size[1]) if size else 224,
        background=None if logits_of(tensors) is None else 0,
    )
