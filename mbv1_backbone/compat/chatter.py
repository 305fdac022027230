"""What other projects say on the terminal and nobody needs there, by name: it goes to the log file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from mmengine.logging import MMLogger, print_log

__all__ = ['MMENGINE_WARNINGS', 'errors_only', 'is_chatter', 'pycocotools_logged']

# Deprecations that mmengine 0.10.7 reports of itself: its checkpoint hook makes a FileClient in every run
# (https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/checkpoint_hook.py#L273).
MMENGINE_WARNINGS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')

# Of every parameter of a frozen layer, which the config asks for.
_FROZEN = 'is skipped since its requires_grad=False'
# A backbone to row 11, or a shared head of rows 12 and 13, does not take the other rows of its file; that its
# own are all there is checked (``models.pretrained``).
_OTHER_ROWS = re.compile(
    r'The model and loaded state dict do not match exactly\s+unexpected key in source state_dict: '
    r'rows\.[^\s,]+(, rows\.[^\s,]+)*\s*'
)

# What pycocotools prints on its way; neither a switch nor a logger turns it off.
_ON_THE_WAY = (
    'loading annotations into memory',
    'Done (t=',
    'creating index',
    'index created',
    'Loading and preparing results',
    'DONE (t=',
    'Running per image evaluation',
    'Evaluate annotation type',
    'Accumulating evaluation results',
)


def is_chatter(record: logging.LogRecord) -> bool:
    """Whether a log record is one of mmengine's warnings about itself, or about what the config asks for."""
    message = record.getMessage()
    return (
        message.startswith(MMENGINE_WARNINGS)
        or message.endswith(_FROZEN)
        or _OTHER_ROWS.fullmatch(message) is not None
    )


@contextmanager
def pycocotools_logged(summary: bool) -> Iterator[None]:
    """Send what pycocotools prints to the current log.

    Args:
        summary: Whether the table of average precisions goes there too, or stays on the terminal.
    """

    def log(*words: object) -> None:
        text = ' '.join(map(str, words))
        if summary or text.startswith(_ON_THE_WAY):
            print_log(text, 'current')
        else:
            print(text)

    names = ('coco', 'cocoeval') if find_spec('pycocotools') else ()
    modules = [import_module(f'pycocotools.{name}') for name in names]
    for module in modules:
        module.__dict__['print'] = log  # before the built-in one
    try:
        yield
    finally:
        for module in modules:
            module.__dict__.pop('print', None)


@contextmanager
def errors_only() -> Iterator[None]:
    """Keep mmengine's current log to errors: initialising a model says what became of every tensor.

    Loading a backbone out of a classifier warns of its last layer, which is left out.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)
