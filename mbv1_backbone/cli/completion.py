"""Print a script that completes mbv1's verbs, options and files in your shell.

eval "$(mbv1 completion bash)"
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from mbv1_backbone.cli import options

__all__ = ['add_arguments', 'run']

_FOLDERS = ('data_root', 'root', 'folder', 'gallery')
_NAMES = ('config', 'model', 'checkpoint')
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
    from mbv1_backbone.weights.zoo import zoo_names

    names = ' '.join(shlex.quote(name) for name in zoo_names())
    models = dict(
        bash='_mbv1_models', zsh=f'_alternative "models:model:({names})" "files:file:_files"', tcsh='f'
    )
    parser = build_parser()
    for action in _actions(parser):
        if isinstance(action, options.OutputFolder) or action.dest in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest in _NAMES:
            action.complete = models  # type: ignore[attr-defined]
        elif isinstance(action, options.OutputFile) or action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    preamble = f'_mbv1_models() {{ compgen -W "{names}" -- "$1"; _shtab_compgen_files "$1"; }}'
    print(shtab.complete(parser, args.shell, preamble=preamble if args.shell == 'bash' else ''))


def _actions(parser: options.Parser) -> Iterator[argparse.Action]:
    yield from parser.declared
    for below in parser.verbs.values():
        yield from _actions(below)
