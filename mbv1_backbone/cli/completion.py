"""Print a script that completes mbv1's verbs, options and files in your shell.

eval "$(mbv1 completion bash)"
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run']

_FOLDERS = ('data_root', 'root', 'folder', 'gallery')
_NAMES = ('model', 'checkpoint')
_FILES = (
    *('ann_file', 'pairs', 'labels', 'source', 'images', 'calibrate', 'pretrained', 'resume', 'detector'),
    *(
        'embeddings',
        'basis',
        'probes',
        'unknown',
        'list',
        'tflite',
        'file',
        'sources',
        'strangers',
        'non_mated',
    ),
)


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    parser.add_argument('shell', choices=('bash', 'zsh', 'tcsh'))


def run(args: argparse.Namespace) -> None:
    """Print the completion script of a shell."""
    import shtab

    from mbv1_backbone.cli.main import build_parser
    from mbv1_backbone.common.resources import config_names
    from mbv1_backbone.weights.zoo import zoo_names

    zoo = zoo_names()
    models = _Words('models', zoo)
    configs = _Words('configs', dict.fromkeys([*zoo, *(PurePath(name).stem for name in config_names())]))
    parser = build_parser()
    for action in _actions(parser):
        if isinstance(action, options.OutputFolder) or action.dest in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest in _NAMES:
            action.complete = models.ways  # type: ignore[attr-defined]
        elif action.dest == 'config':
            action.complete = configs.ways  # type: ignore[attr-defined]
        elif isinstance(action, options.OutputFile) or action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    preamble = models.preamble + configs.preamble
    print(shtab.complete(parser, args.shell, preamble=preamble if args.shell == 'bash' else ''))


class _Words:
    """Names that complete an argument, as files do.

    Args:
        kind: Of what they name, in the plural.
        words: The names.

    Attributes:
        ways: How a shell is told, by its name.
        preamble: What bash needs for it.
    """

    def __init__(self, kind: str, words: Iterable[str]) -> None:
        quoted = ' '.join(shlex.quote(word) for word in words)
        self.ways = dict(
            bash=f'_mbv1_{kind}', zsh=f'_alternative "{kind}:{kind}:({quoted})" "files:file:_files"', tcsh='f'
        )
        self.preamble = f'_mbv1_{kind}() {{ compgen -W "{quoted}" -- "$1"; _shtab_compgen_files "$1"; }}\n'


def _actions(parser: options.Parser) -> Iterator[argparse.Action]:
    yield from parser.declared
    for below in parser.verbs.values():
        yield from _actions(below)
