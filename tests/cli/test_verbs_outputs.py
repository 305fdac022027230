"""Every verb with every output, in every place that cannot be written: one line, before any work."""

import os
from types import SimpleNamespace

import pytest
from support.verbs import arguments, verbs

from mbv1_backbone.cli.main import main
from mbv1_backbone.cli.options import FormerPlace, OutputFile, OutputFolder

OUTPUTS = {
    f'{" ".join(words)} {action.option_strings[0] if action.option_strings else action.dest}': (
        words,
        parser,
        action,
    )
    for words, parser in verbs().items()
    for action in parser.declared
    if isinstance(action, (OutputFile, OutputFolder))
}
FILES = [name for name, (_, _, action) in OUTPUTS.items() if isinstance(action, OutputFile)]
FOLDERS = [name for name, (_, _, action) in OUTPUTS.items() if isinstance(action, OutputFolder)]
FILE_PLACES = {
    'a folder': ('folder', 'is a folder, not a file'),
    'below a file': ('file/x', 'is a file, not a folder'),
    'far below a file': ('file/x/y', 'is a file, not a folder'),
    'below a link to nothing': ('link/x', 'does not exist'),
    'no folder of ours': ('/proc/x', 'cannot write in /proc'),
    'too long': ('x' * 300, 'File name too long'),
}
FOLDER_PLACES = {**FILE_PLACES, 'a folder': ('file', 'is a file, not a folder')}


@pytest.fixture
def places(tmp_path):
    """A folder with a file and a link to nothing."""
    (tmp_path / 'file').write_text('kept')
    (tmp_path / 'link').symlink_to('nothing')
    return tmp_path


def refused(name, value, capsys, monkeypatch):
    """Run a verb with this output: nothing but one line."""
    words, parser, action = OUTPUTS[name]

    def never(*_: object) -> None:
        raise AssertionError('the work has begun')

    monkeypatch.setattr('mbv1_backbone.cli.main.import_module', never)
    code = main([*words, *arguments(parser, action, str(value))])
    said = capsys.readouterr()
    assert (code, said.out) == (2, '')
    [line] = said.err.splitlines()
    return line


@pytest.mark.parametrize('place', FILE_PLACES)
@pytest.mark.parametrize('name', FILES)
def test_a_file(name, place, places, capsys, monkeypatch):
    path, reason = FILE_PLACES[place]
    path = (places / path).with_suffix(OUTPUTS[name][2].suffixes[0])
    if place == 'a folder':
        path.mkdir()
    line = refused(name, path, capsys, monkeypatch)
    assert line.startswith(f'error: {OUTPUTS[name][2].option_strings[0]} ')
    assert str(path) in line
    assert reason in line
    assert sorted(p.name for p in places.iterdir() if p != path) == ['file', 'link']


@pytest.mark.parametrize('name', FILES)
def test_a_suffix(name, places, capsys, monkeypatch):
    line = refused(name, places / 'x.wrong', capsys, monkeypatch)
    assert line.startswith(f'error: {OUTPUTS[name][2].option_strings[0]} must end in .')


@pytest.mark.parametrize('place', FOLDER_PLACES)
@pytest.mark.parametrize('name', FOLDERS)
def test_a_folder(name, place, places, capsys, monkeypatch):
    path, reason = FOLDER_PLACES[place]
    line = refused(name, places / path, capsys, monkeypatch)
    assert line.startswith('error: ')
    assert str(places / path) in line
    assert reason in line
    assert sorted(p.name for p in places.iterdir()) == ['file', 'link']


@pytest.mark.parametrize('name', OUTPUTS)
def test_a_full_disk(name, places, capsys, monkeypatch):
    monkeypatch.setattr(os, 'statvfs', lambda path: SimpleNamespace(f_blocks=9, f_bavail=0, f_files=0))
    suffixes = getattr(OUTPUTS[name][2], 'suffixes', ('',))
    assert 'is full' in refused(name, places / f'x{suffixes[0]}', capsys, monkeypatch)


@pytest.mark.parametrize('name', [name for name in FOLDERS if OUTPUTS[name][2].files])
def test_a_folder_in_the_place_of_a_file_in_it(name, tmp_path, capsys, monkeypatch):
    file = OUTPUTS[name][2].files[0]
    (tmp_path / file).mkdir(parents=True)
    assert 'is a folder, not a file' in refused(name, tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize('name', [name for name in FOLDERS if OUTPUTS[name][2].empty])
def test_a_folder_that_must_be_new(name, places, capsys, monkeypatch):
    assert 'is not an empty folder' in refused(name, places, capsys, monkeypatch)


def test_one_set_of_names():
    """What is written is named alike everywhere, and is checked everywhere."""
    for words, parser in verbs().items():
        for action in parser.declared:
            names = action.option_strings or [action.dest]
            if isinstance(action, OutputFile):
                assert names == ['--save-config' if words == ('train',) else '--out'], words
            elif isinstance(action, OutputFolder):
                assert names[0] in ('--out-dir', '--work-dir', '--cache', 'gallery'), words
            elif not isinstance(action, FormerPlace):
                assert not {'--out', '--out-dir', '--work-dir', 'out'} & set(names), words
