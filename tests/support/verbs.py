"""Every verb of the command line, with arguments that it can be parsed from."""

from argparse import Action

from mbv1_backbone.cli.main import build_parser
from mbv1_backbone.cli.options import FormerPlace, Parser


def verbs(parser: Parser | None = None, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Parser]:
    """The parsers of all verbs by their words; of those that only have verbs below them, these."""
    parser = parser or build_parser()
    found = {words: parser} if parser.get_default('run') is not None else {}
    for name, below in parser.verbs.items():
        found |= verbs(below, (*words, name))
    return found


def arguments(parser: Parser, chosen: Action, value: str) -> list[str]:
    """Words for all that a verb requires, and a value for one of its arguments."""
    words = [*_words(chosen, value)] if chosen.option_strings else []
    for action in parser.declared:
        if isinstance(action, FormerPlace):
            continue
        if action is chosen and not action.option_strings:
            words.append(value)
        elif action is not chosen and (
            action.required or (not action.option_strings and action.nargs != '?')
        ):
            words += _words(action, '/nothing/here' if action.type is None else '1')
    return words


def _words(action: Action, value: str) -> list[str]:
    value = str(action.choices[0]) if action.choices else value
    return [f'{action.option_strings[0]}={value}'] if action.option_strings else [value]
