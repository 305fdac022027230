"""A runner that says little on the terminal: its whole log, with the config, is in the log file."""

from __future__ import annotations

import logging
import time
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from tqdm import tqdm
from typing_extensions import override

from mbv1_backbone.compat.chatter import is_chatter

__all__ = ['QuietRunner', 'TerminalHandler']


class TerminalHandler(logging.StreamHandler):
    """Warnings and errors on the terminal, above a progress bar where there is one.

    With ``log_level='DEBUG'`` in the config everything is shown.
    """

    def __init__(self, replaced: logging.StreamHandler) -> None:
        super().__init__(replaced.stream)
        self.setFormatter(replaced.formatter)
        self.filters = replaced.filters
        self.asked = replaced.level
        if self.asked > logging.DEBUG:
            self.setLevel(max(self.asked, logging.WARNING))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if not is_chatter(record):
            tqdm.write(self.format(record))


class QuietRunner(Runner):
    """mmengine's runner, of whose log only warnings and errors reach the terminal until ``open_terminal``.

    mmengine names a run and its log by the second: of two that a process begins within one, the second waits.
    """

    _begun = ''

    @override
    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        while time.strftime('%Y%m%d_%H%M%S') == QuietRunner._begun:
            time.sleep(0.05)
        super().setup_env(env_cfg)
        QuietRunner._begun = self.timestamp

    @override
    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.handlers = [
            TerminalHandler(handler) if type(handler) is logging.StreamHandler else handler
            for handler in logger.handlers
        ]
        return logger

    @override
    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """One of this run's own.

        mmdet's configs name theirs, and mmengine has one of a name in a process: a second run would write its
        curves into the folder of the first.
        """
        if isinstance(visualizer, dict):
            visualizer = {**visualizer, 'name': f'{self.experiment_name}-{time.time_ns()}'}
        return super().build_visualizer(visualizer)

    def open_terminal(self) -> None:
        """Show all that is logged from now on."""
        for handler in self.logger.handlers:
            if isinstance(handler, TerminalHandler):
                handler.setLevel(handler.asked)
