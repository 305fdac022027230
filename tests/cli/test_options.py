"""Names of options, old and new, and arguments in every order."""

import argparse
import re
from importlib import import_module

import pytest
from support.verbs import arguments, verbs

from mbv1_backbone import __version__
from mbv1_backbone.cli import main as command
from mbv1_backbone.cli.deprecated import RENAMED, with_new_names
from mbv1_backbone.cli.main import build_parser, main
from mbv1_backbone.cli.options import FormerPlace
from mbv1_backbone.common.errors import InputError

VERBS = verbs()
FORMER = [
    words for words, parser in VERBS.items() if any(isinstance(a, FormerPlace) for a in parser.declared)
]
SHARED = ('--device', '--batch-size', '--cfg-options', '--data-root', '--backend', '--launcher')


def parse(*words):
    """What a verb is given to do, without doing it."""
    args, extra = build_parser().parse_known_args(with_new_names([str(word) for word in words]))
    command._place_late(args, extra)
    return args


@pytest.mark.parametrize('words', VERBS, ids=' '.join)
def test_a_verb_has_a_summary_and_something_to_do(words):
    run = VERBS[words].get_default('run')
    if isinstance(run, str):
        module, _, function = run.partition(':')
        run = getattr(import_module(module), function)
    assert callable(run)
    assert VERBS[words].description


@pytest.mark.parametrize(('verb', 'old', 'new'), RENAMED)
@pytest.mark.parametrize('form', ['apart', 'joined'])
def test_an_old_name_is_taken_and_warned_about(verb, old, new, form, tmp_path, capsys):
    words = (*verb.split(), *(['grid'] if verb == 'benchmark' else []))
    parser = VERBS[words]
    action = next(a for a in parser.declared if new in a.option_strings)
    value = str(tmp_path / f'x{(getattr(action, "suffixes", None) or [""])[0]}')
    given = [old, value] if form == 'apart' else [f'{old}={value}']
    required = arguments(parser, action, value)[1:]
    args = parse(*words, *required, *given)
    assert getattr(args, action.dest) == value
    assert capsys.readouterr().err == (
        f'warning: mbv1 {verb}: {old} is now {new}; the old way ends with version 0.2\n'
    )
    parse(*words, *required, new, value)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('words', FORMER, ids=' '.join)
def test_an_output_is_taken_at_its_old_place(words, tmp_path, capsys):
    parser = VERBS[words]
    place = next(a for a in parser.declared if isinstance(a, FormerPlace))
    value = str(tmp_path / f'x{(getattr(place.option, "suffixes", None) or [""])[0]}')
    required = arguments(parser, place.option, value)[1:]
    places = [word for word in required if not word.startswith('--')]
    places += ['/nothing/here'] * (words == ('publish',))  # the checkpoint stands before it
    rest = [word for word in required if word.startswith('--')]
    args = parse(*words, *places, value, *rest)
    assert getattr(args, place.option.dest) == value
    warning = capsys.readouterr().err
    assert warning.startswith('warning: ')
    assert place.option.option_strings[0] in warning
    with pytest.raises(InputError, match='unrecognized argument'):
        parse(*words, place.option.option_strings[0], value, *places, value, *rest)


def test_imported_weights_are_written_where_they_used_to_be(tmp_path, capsys):
    assert main(['weights', 'import', 'nothing.tflite', str(tmp_path / 'w.safetensors')]) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith('warning: mbv1 weights import: the place of ')
    assert 'nothing.tflite' in error
    assert main(['weights', 'import', 'nothing.tflite']) == 2
    assert 'give the file to write' in capsys.readouterr().err


@pytest.mark.parametrize(
    'words',
    [
        ('test', 'c.py', 'x.pth', '--data-root', 'd'),
        ('test', 'c.py', '--data-root', 'd', 'x.pth'),
        ('test', '--data-root', 'd', 'c.py', 'x.pth'),
    ],
)
def test_a_checkpoint_may_stand_after_an_option(words):
    args = parse(*words)
    assert (args.model, args.checkpoint, args.data_root) == ('c.py', 'x.pth', 'd')


def test_images_may_stand_after_an_option(tmp_path):
    args = parse('detect', 'NAME', 'a.jpg', '--out-dir', tmp_path, 'b.jpg', 'c.jpg')
    assert args.images == ['a.jpg', 'b.jpg', 'c.jpg']


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        ((), 'say what to do; see mbv1 --help'),
        (('gallery',), 'say what to do; see mbv1 gallery --help'),
        (('nothing',), 'invalid choice'),
        (('train',), 'give a config, or a data set with --data; see mbv1 train --help'),
        (('train', 'a', 'b'), 'unrecognized arguments: b'),
        (('test', 'a', 'b', '--colour'), 'unrecognized arguments: --colour'),
        (('test', 'a', 'b', '--data-r', 'd'), 'unrecognized arguments: --data-r'),  # no abbreviations
        (('browse', 'a', '--out-dir', 'x', '--num', '0'), '--num: must be at least 1, got 0'),
        (('browse', 'a', '--out-dir', 'x', '--num', 'few'), "invalid whole number value: 'few'"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, complaint, capsys):
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert complaint in line


def test_every_option_has_one_meaning():
    """The same name takes the same kind of value in all verbs."""
    kinds = {}
    for parser in VERBS.values():
        for action in parser.declared:
            for name in SHARED:
                if name in action.option_strings:
                    kinds.setdefault(name, set()).add((type(action), action.nargs, str(action.choices)))
    assert len(kinds) == len(SHARED)
    assert all(len(kind) == 1 for kind in kinds.values())


def test_overrides_are_read_as_mmengine_reads_them():
    from mbv1_backbone.cli.networks import cfg_options

    given = ['a.b=1', 'c=[1,2]', 'd=x', 'e=True', 'f=(1.5,None)']
    read = cfg_options(argparse.Namespace(cfg_options=given))
    assert read == {'a.b': 1, 'c': [1, 2], 'd': 'x', 'e': True, 'f': (1.5, None)}
    assert cfg_options(argparse.Namespace(cfg_options=None)) == {}


@pytest.mark.parametrize(
    ('words', 'value', 'said'),
    [
        (('detect', 'm', 'x.jpg', '--out-dir', 'o', '--score-thr'), '1.5', 'must lie in 0..1, got 1.5'),
        (('detect', 'm', 'x.jpg', '--out-dir', 'o', '--score-thr'), 'nan', 'must lie in 0..1, got nan'),
        (('test', 'm', '--score-thr'), 'high', "invalid number value: 'high'"),
        (('gallery', 'search', 'g', 'x.jpg', '--model', 'm', '--threshold'), '2', 'must lie in -1..1, got 2'),
    ],
)
def test_a_score_out_of_its_range_is_refused(words, value, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(said)):
        parse(*words, value)
    assert (
        parse(*words, '0.5').score_thr if '--score-thr' in words else parse(*words, '0.5').threshold
    ) == 0.5


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        parse('--version')
    assert (ended.value.code, capsys.readouterr().out) == (0, f'mbv1-backbone {__version__}\n')


SEEDS = {
    words: action
    for words, parser in VERBS.items()
    for action in parser.declared
    if '--seed' in action.option_strings
}


@pytest.mark.parametrize('seed', ['-1', '4294967296'])
@pytest.mark.parametrize('words', SEEDS, ids=' '.join)
def test_every_verb_takes_the_seeds_that_all_generators_take(words, seed, capsys):
    assert main([*words, *arguments(VERBS[words], SEEDS[words], seed)]) == 2
    assert f'must lie in 0..2**32 - 1, got {seed}' in capsys.readouterr().err
