"""What is done to other projects' modules, each as soon as it has been imported.

``install`` runs when ``mbv1_backbone`` is imported. A module that is loaded already is changed at
once, any other when it is imported, so that the order of imports does not matter and nothing is
loaded for its sake.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

from mbv1_backbone.compat import config_scope, mmcv_ext, registry

__all__ = ['SCHEMES', 'install', 'load_from_mbv1']

SCHEMES = ('mbv1', 'timm', 'keras', 'tflite', 'slim', 'zoo')


def install() -> None:
    """Stand in for ``mmcv._ext`` and wait for the modules below; a second call does nothing more."""
    mmcv_ext.install()
    register_post_import_hook(_find_our_configs, 'mmengine.config.config')
    register_post_import_hook(_know_our_names, 'mmengine.registry.registry')
    register_post_import_hook(_load_our_schemes, 'mmengine.runner.checkpoint')
    register_post_import_hook(_leave_out_multimodal, 'mmpretrain.utils.dependency')
    register_post_import_hook(_let_carafe_train, 'mmcv.ops.carafe')
    register_post_import_hook(_let_ssd_head_predict, 'mmdet.models.dense_heads.ssd_head')


def _find_our_configs(module: ModuleType) -> None:
    config_scope.extend(module.Config)


def _know_our_names(module: ModuleType) -> None:
    registry.extend(module.Registry)


def _load_our_schemes(module: ModuleType) -> None:
    """Let ``Pretrained`` and ``load_from`` take our URL schemes, and ``.safetensors`` files."""
    prefixes = [*(f'{scheme}://' for scheme in SCHEMES), r'.+\.safetensors$']
    module.CheckpointLoader.register_scheme(prefixes, load_from_mbv1, force=True)


def load_from_mbv1(filename: str, map_location: Any = None, logger: Any = None) -> dict[str, Any]:
    """Load weights of our schemes, for mmengine, which logs what is after ``load_from_`` in its name.

    Args:
        filename: With its scheme: ``mbv1://NAME``.
        map_location: Unused: weights are loaded on the CPU.
        logger: Unused.
    """
    loaded: dict[str, Any] = import_module('mbv1_backbone.weights.sources').load_checkpoint(filename)
    return loaded


def _let_carafe_train(module: ModuleType) -> None:
    """Give ``carafe_naive`` the gradient of ``carafe`` where ours stand in: its own insists on CUDA."""
    if mmcv_ext.in_use():
        vars(module)['carafe_naive'] = module.carafe


def _let_ssd_head_predict(module: ModuleType) -> None:
    """Give mmdet's SSDHead the attribute that its prediction asks for.

    mmdet 3.3.0's SSDHead never runs the constructor that sets it (mmdetection issues 11063, 11305, 11780).
    Its loss is cross entropy whatever this says.
    """
    if not hasattr(module.SSDHead, 'loss_cls'):
        module.SSDHead.loss_cls = None


def _leave_out_multimodal(module: ModuleType) -> None:
    """Take mmpretrain's own way without its multimodal models where transformers is too new for them.

    mmpretrain 1.2.0 takes names from ``transformers.modeling_utils`` that are not there since 4.56, makes
    them None and derives classes from them (https://github.com/xinyu1205/recognize-anything/issues/219 is
    the same code). The TypeError, which mmdet 3.3.0 does not expect of its optional import of mmpretrain,
    ends the import of ``mmdet.models``.
    """
    try:
        installed = module.digit_version(version('transformers'))
    except PackageNotFoundError:
        return
    if installed >= module.digit_version('4.56'):
        vars(module)['WITH_MULTIMODAL'] = False
