"""Overrides of a config's values, as ``--cfg-options`` gives them: whether anything reads them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable

from mmengine.config import Config
from mmengine.runner import Runner

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import guess

__all__ = ['check_overrides']

_LOG = logging.getLogger('mbv1_backbone')
_BESIDE = ('auto_scale_lr', 'custom_imports', 'data_preprocessor')  # keys that are read elsewhere


def check_overrides(cfg: Config, keys: Iterable[str]) -> None:
    """Refuse overrides that nothing would read: mmengine adds them to a config in silence.

    Variables that only the file's own lines use (``train_pipeline``, ``max_epochs``) are warned of: the file
    has been read by then.

    Args:
        cfg: As its file has it.
        keys: Dotted.

    Raises:
        InputError: If a key is none, or its first name neither is in the config nor taken by mmengine's
            runner.
    """
    read = {*inspect.signature(Runner.__init__).parameters, *_BESIDE} - {'self', 'cfg'}
    known = {*cfg, *read}
    for key in keys:
        names = key.split('.')
        if not all(names):
            raise InputError(f'--cfg-options: {key!r} is no key of a config')
        if names[0] not in known:
            like = guess(names[:1], sorted(known))
            raise InputError(f'--cfg-options: nothing reads {names[0]!r}, which {cfg.filename} has not{like}')
        if names[0] not in read or names[0] == 'custom_imports':
            _LOG.warning(
                '--cfg-options %s: the file of the config has been read, and what it made of %s stays: '
                'override what is made of it (as train_cfg.max_epochs, train_dataloader.dataset.pipeline)',
                key,
                names[0],
            )
