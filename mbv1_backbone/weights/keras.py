"""Keras' MobileNet: ``mobilenet_{1_0,7_5,5_0,2_5}_{224,192,160,128}_tf[_no_top].h5``.

Layers: https://github.com/keras-team/keras/blob/master/keras/src/applications/mobilenet.py
"""

from __future__ import annotations

import os
import re

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import NORM, NORM_NAMES, Rule, as_linear, from_hwcm, from_hwio
from mbv1_backbone.weights.store import Weights
from mbv1_backbone.weights.targets import fill_classifier, widen_factor_of

__all__ = ['RULES', 'is_hdf5', 'keras_url', 'read_keras']

_URL = 'https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/'
_MAX_BYTES = 500_000_000  # of one data set; the largest of MobileNet has 4 MB
_NAME = re.compile(r'mobilenet_(?:1_0|7_5|5_0|2_5)_(224|192|160|128)_tf(?:_no_top)?(?:\.h5)?')

RULES: tuple[Rule, ...] = (
    Rule(r'conv1/kernel', 'rows.0.conv.weight', from_hwio),
    Rule(rf'conv1_bn/({NORM_NAMES})', lambda m: f'rows.0.bn.{NORM[m[1]]}'),
    Rule(r'conv_dw_(\d+)/depthwise_kernel', r'rows.\1.depthwise.conv.weight', from_hwcm),
    Rule(r'conv_dw_(\d+)/kernel', r'rows.\1.depthwise.conv.weight', from_hwcm),  # Keras 3's name
    Rule(rf'conv_dw_(\d+)_bn/({NORM_NAMES})', lambda m: f'rows.{m[1]}.depthwise.bn.{NORM[m[2]]}'),
    Rule(r'conv_pw_(\d+)/kernel', r'rows.\1.pointwise.conv.weight', from_hwio),
    Rule(rf'conv_pw_(\d+)_bn/({NORM_NAMES})', lambda m: f'rows.{m[1]}.pointwise.bn.{NORM[m[2]]}'),
    Rule(r'conv_preds/kernel', 'head.fc.weight', as_linear),
    Rule(r'conv_preds/bias', 'head.fc.bias'),
)


def keras_url(name: str) -> str:
    """Where a released file lies, by its name with or without ``.h5``.

    Raises:
        InputError: If there is no such file.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f'keras://{name}: the released files are mobilenet_{{1_0,7_5,5_0,2_5}}_{{224,192,160,128}}_tf.h5 '
            'and ..._tf_no_top.h5'
        )
    return f'{_URL}{name.removesuffix(".h5")}.h5'


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is HDF5."""
    with open(path, 'rb') as file:
        return file.read(8) == b'\x89HDF\r\n\x1a\n'


def read_keras(path: str | os.PathLike[str]) -> Weights:
    """Import a file of weights.

    Raises:
        InputError: If it is damaged, or its layers are not those of Keras' MobileNet.
    """
    tensors = _read(path)
    first = tensors.get('conv1/kernel')
    if first is None or first.ndim != 4:
        raise InputError(f"{path}: no conv1/kernel, not Keras' MobileNet")
    classes = tensors['conv_preds/kernel'].shape[-1] if 'conv_preds/kernel' in tensors else None
    size = _NAME.search(os.path.basename(path))
    recipe = Recipe(
        source=f'keras: {os.path.basename(path)}',
        widen_factor=widen_factor_of(first.shape[-1]),
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_eps=1e-3,
        input_size=int(size[1]) if size else 224,
    )
    return fill_classifier(RULES, tensors, recipe, classes, str(path))


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Data sets of a file, named ``layer/weight``."""
    try:
        import h5py
    except ImportError as error:
        raise NotInstalledError(
            "reading Keras files needs the package h5py: pip install 'mbv1-backbone[weights]'"
        ) from error
    tensors: dict[str, np.ndarray] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            if item.dtype.kind not in 'fiu' or item.size * item.dtype.itemsize > _MAX_BYTES:
                raise InputError(f'{path}: {name} is {item.dtype} {item.shape}, no tensor of MobileNet')
            tensors['/'.join(name.removesuffix(':0').split('/')[-2:])] = item[()]

    try:
        with h5py.File(path, 'r') as file:
            file.visititems(keep)
    except InputError:
        raise
    except Exception as error:  # of h5py and HDF5: of any kind
        raise DamagedFileError(f'{path}: damaged HDF5 file: {error}') from error
    return {name: values for name, values in tensors.items() if not name.startswith('top_level')}
