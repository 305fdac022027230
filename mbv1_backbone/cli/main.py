"""``mbv1 VERB ...``: one command for all that this project does."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from mbv1_backbone import __version__
from mbv1_backbone.cli import (
    analyze,
    benchmark,
    browse,
    cells,
    classify,
    completion,
    complexity,
    convert,
    data,
    demo_data,
    detect,
    detect_job,
    embed_job,
    export,
    faces,
    gallery,
    locate,
    publish,
    serve,
    serve_keys,
    test,
    train,
    weights,
    zoo,
)
from mbv1_backbone.cli.deprecated import with_new_names
from mbv1_backbone.cli.guard import guarded
from mbv1_backbone.cli.options import Parser, check_outputs_apart
from mbv1_backbone.common.errors import InputError

__all__ = ['EPILOG', 'VERBS', 'build_parser', 'main']

# A verb's module has a docstring, whose first line is its help, and `add_arguments(parser)`, which sets
# `run` to a function of the parsed arguments, or to the name `module:function` of one.
VERBS = {
    'train': train,
    'test': test,
    'analyze': analyze,
    'detect': detect,
    'classify': classify,
    'locate': locate,
    'cells': cells,
    'browse': browse,
    'export': export,
    'weights': weights,
    'faces': faces,
    'embed-job': embed_job,
    'detect-job': detect_job,
    'gallery': gallery,
    'serve': serve,
    'serve-keys': serve_keys,
    'zoo': zoo,
    'convert': convert,
    'data': data,
    'demo-data': demo_data,
    'publish': publish,
    'complexity': complexity,
    'benchmark': benchmark,
    'completion': completion,
}
EPILOG = """\
MODEL is a name in the model zoo (mbv1 zoo), a config with its checkpoint after it, or a file that needs none.

exit codes:
  0    done
  1    a defect of mbv1-backbone; the traceback is for its issue tracker
  2    refused: input, output, result out of tolerance, package not installed, disk full; one line says why
  130  interrupted
  141  the reader of the output has gone, as after "| head -1"

environment:
  MBV1_DEBUG=1  show the traceback of a refusal, too
  MBV1_CPU_BF16 0 or 1: whether the processor is taken to multiply in bfloat16
  MBV1_MEASURE  0: the processor's flags decide what runs a network; 1: measure anew what is fastest
  MBV1_CACHE    folder of what is fetched and exported (default: mbv1_backbone in torch.hub's)
  MBV1_MIRROR   URL or folder to fetch released files from, in place of their sources; laid out as the cache
"""


def build_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(
        prog='mbv1',
        description='MobileNetV1: detectors, classifiers, faces and galleries; train, test, export, search.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    parser.add_argument('--version', action='version', version=f'mbv1-backbone {__version__}')
    for name, module in VERBS.items():
        module.add_arguments(parser.add_verb(name, (module.__doc__ or '').splitlines()[0]))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Those after ``mbv1``; None for those that the process was given.

    Returns:
        The exit code, as ``guard`` lists them.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    code = guarded(lambda: _run(given), given)
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        _end(code)
    return code


def _end(code: int) -> NoReturn:
    """End one of torchrun's processes at once: tearing gloo down aborts one now and then, after its work."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(given: Sequence[str]) -> None:
    parser = build_parser()
    args, extra = parser.parse_known_args(with_new_names(given))
    if 'run' not in args:
        raise InputError(f'say what to do; see {args.parser.prog} --help')
    _place_late(args, extra)
    check_outputs_apart(args)
    run = args.run
    if isinstance(run, str):
        module, _, function = run.partition(':')
        run = getattr(import_module(module), function)
    run(args)


def _place_late(args: argparse.Namespace, extra: Sequence[str]) -> None:
    """Give arguments that stand after an option to the optional places that argparse had closed by then.

    Raises:
        InputError: If there is no place left, or an option is not known.
    """
    left = list(extra)
    for action in args.parser.declared:
        if action.option_strings or not left or any(word.startswith('-') and word != '-' for word in left):
            continue
        value = getattr(args, action.dest, None)
        if action.nargs == '?' and value is None:
            action(args.parser, args, left.pop(0))
        elif action.nargs == '*':
            action(args.parser, args, [*(value or []), *left])
            left = []
    if left:
        raise InputError(f'unrecognized arguments: {" ".join(left)}; see {args.parser.prog} --help')
