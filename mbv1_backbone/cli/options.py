"""Options that several verbs share, under one name everywhere, and the parser that knows outputs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mbv1_backbone.cli.pairs import Pairs
from mbv1_backbone.common.choices import BACKENDS, COMPUTED_IN, LAUNCHERS, MODES
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.outputs import check_apart, check_output_file, check_output_folder

__all__ = [
    'DEFAULT',
    'Action',
    'FormerPlace',
    'OutputFile',
    'OutputFolder',
    'Parser',
    'Run',
    'add_backend',
    'add_batch_size',
    'add_cfg_options',
    'add_data_root',
    'add_detector',
    'add_launcher',
    'add_work_dir',
    'at_least',
    'check_outputs_apart',
    'json_line',
    'output_file',
    'output_folder',
    'seed',
    'warn_renamed',
    'within',
]

_SEEDS = 2**32  # that NumPy's and scikit-learn's generators take
DEFAULT = ''  # of an option that was given without a value
Action = TypeVar('Action', bound=argparse.Action)
Run = Callable[[argparse.Namespace], None] | str


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors of one line, and which tells what it was given to parse.

    Attributes:
        declared: The arguments, in order.
        verbs: Parsers of the verbs below it, by name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.declared: list[argparse.Action] = []
        self.verbs: dict[str, Parser] = {}
        self._below: Any = None
        super().__init__(*args, **{'allow_abbrev': False, **kwargs})

    def add_verb(self, name: str, summary: str, run: Run | None = None) -> Parser:
        """The parser of a verb below this one.

        Args:
            name: Of the verb.
            summary: One line.
            run: What it does with the parsed arguments, or ``module:function`` of that.
        """
        if self._below is None:
            self._below = self.add_subparsers(metavar='VERB', title='verbs')
        made: Parser = self._below.add_parser(name, help=summary, description=summary)
        made.set_defaults(parser=made)
        if run is not None:
            made.set_defaults(run=run)
        self.verbs[name] = made
        return made

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does; an option of pairs ends where a word is none."""
        given = sys.argv[1:] if args is None else list(args)
        for action in self.declared:
            if isinstance(action, Pairs):
                given = action.named_each(given)
        return super().parse_known_args(given, namespace)

    def _add_action(self, action: Action) -> Action:
        self.declared.append(action)
        return super()._add_action(action)

    def error(self, message: str) -> Any:
        """Raise the complaint.

        Raises:
            InputError: Always.
        """
        raise InputError(f'{message}; see {self.prog} --help')


class OutputFile(argparse.Action):
    """A file to write, checked as it is parsed: before any work."""

    def __init__(self, *args: Any, suffixes: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.suffixes = suffixes

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check and store."""
        check_output_file(values, self.suffixes, self.option_strings[0] if self.option_strings else self.dest)
        setattr(namespace, self.dest, values)


class OutputFolder(argparse.Action):
    """A folder to write to, checked as it is parsed: before any work."""

    def __init__(self, *args: Any, files: Sequence[str] = (), empty: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.files, self.empty = files, empty

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check and store."""
        name = self.option_strings[0] if self.option_strings else self.dest
        check_output_folder(values, self.files, self.empty, name)
        setattr(namespace, self.dest, values)


def check_outputs_apart(args: argparse.Namespace) -> None:
    """Check that no file to write is one that another argument names, and so is read.

    Raises:
        InputError: If one is.
    """
    outputs = {action.dest: action for action in args.parser.declared if isinstance(action, OutputFile)}
    inputs: list[str] = []
    for name, value in vars(args).items():
        if name not in outputs:
            inputs += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    for name, action in outputs.items():
        if isinstance(path := getattr(args, name, None), str):
            check_apart(path, filter(None, inputs), (*action.option_strings, name)[0])


class FormerPlace(argparse.Action):
    """An output that was given by its place; it goes to the option that has taken over, with a warning."""

    def __init__(self, *args: Any, option: argparse.Action, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, 'nargs': '?', 'help': argparse.SUPPRESS})
        self.option = option

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Hand it on."""
        if values is None:
            return
        name = self.option.option_strings[0]
        if getattr(namespace, self.option.dest, None) is not None:
            raise InputError(f'{parser.prog}: unrecognized argument {values}')
        warn_renamed(f'{parser.prog}: the place of {values}', f'{name} {values}')
        self.option.required = False
        self.option(parser, namespace, values, name)


def warn_renamed(old: str, new: str) -> None:
    """Say on standard error that a name has changed."""
    print(f'warning: {old} is now {new}; the old way ends with version 0.2', file=sys.stderr)


def output_file(parser: argparse.ArgumentParser, suffixes: Sequence[str], help: str, **options: Any) -> None:
    """``--out``, a file to write; with ``former=True`` also by its place, as it used to be.

    Args:
        parser: Gets the option.
        suffixes: That the file may have.
        help: Of the option.
        **options: Further ones of ``add_argument``, and ``former``.
    """
    former = options.pop('former', False)
    made = parser.add_argument('--out', action=OutputFile, suffixes=suffixes, help=help, **options)
    if former:
        parser.add_argument('former_out', action=FormerPlace, option=made)


def output_folder(parser: argparse.ArgumentParser, help: str, **options: Any) -> None:
    """``--out-dir``, a folder to write to; with ``former=True`` also by its place, as it used to be."""
    former = options.pop('former', False)
    made = parser.add_argument('--out-dir', action=OutputFolder, help=help, **options)
    if former:
        parser.add_argument('former_out', action=FormerPlace, option=made)


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """``--data-root``."""
    parser.add_argument('--data-root', help="folder of the data, in place of the config's")


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options``, for ``cfg_options`` to read."""
    parser.add_argument(
        '--cfg-options', nargs='+', metavar='KEY=VALUE', help="overrides of the config's values"
    )


def add_work_dir(parser: argparse.ArgumentParser, help: str) -> None:
    """``--work-dir``."""
    parser.add_argument('--work-dir', action=OutputFolder, help=help)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """``--launcher``."""
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='of several processes')


def add_batch_size(parser: argparse.ArgumentParser, default: int = 8) -> None:
    """``--batch-size``."""
    parser.add_argument(
        '--batch-size', type=at_least(1), default=default, metavar='N', help=f'images (default {default})'
    )


def add_detector(parser: Parser) -> None:
    """``--detector``, of verbs that embed faces."""
    parser.add_argument(
        '--detector',
        default='auto',
        metavar='NAME',
        help='what finds the faces of photographs: auto (default) is RetinaFace of the zoo, aligns by '
        'landmarks, and takes face crops as they are; none takes every image so; or another name in the zoo, '
        "a file of mbv1 export, YuNet's .onnx, RetinaFace's released weights",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """``--backend``, ``--precision``, ``--threads``, ``--mode`` and ``--device``: what runs a network."""
    parser.add_argument(
        '--backend', choices=BACKENDS, default='auto', help='what runs the network (default: the fastest)'
    )
    parser.add_argument(
        '--precision',
        choices=COMPUTED_IN,
        default='auto',
        help='of the arithmetic (default: the fastest of fp32, bf16 where the processor has it, and int8 '
        'where mbv1 export --keep has compared it; fp32 on other devices)',
    )
    parser.add_argument('--threads', type=int, metavar='N', help='cores to use (default: all); on the CPU')
    parser.add_argument(
        '--mode',
        choices=MODES,
        help='one batch on all cores, or several batches at once (the default); on the CPU',
    )
    parser.add_argument(
        '--device', default='cpu', help='cpu (the default), cuda:0, ...; other than cpu: PyTorch'
    )


def at_least(least: int) -> Any:
    """The type of an option: a whole number that is not less than ``least``."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f'must be at least {least}, got {value}')
        return value

    number.__name__ = 'whole number'
    return number


def seed(text: str) -> int:
    """The type of an option: a seed that every generator of random numbers takes, 0 to 2**32 - 1."""
    value = int(text)
    if not 0 <= value < _SEEDS:
        raise argparse.ArgumentTypeError(f'must lie in 0..2**32 - 1, got {value}')
    return value


def within(low: float, high: float) -> Any:
    """The type of an option: a number from ``low`` to ``high``."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'must lie in {low:g}..{high:g}, got {text}')
        return value

    number.__name__ = 'number'
    return number


def json_line(value: Any, indent: int | None = None) -> str:
    """A value as JSON to print: escaped where standard output cannot hold all text.

    Args:
        value: What ``json`` can write.
        indent: Spaces a level; None for one line.
    """
    encoding = (getattr(sys.stdout, 'encoding', None) or '').lower().replace('-', '')
    return json.dumps(value, ensure_ascii=encoding != 'utf8', indent=indent)
