"""Errors of a user's input, and those of our own code, which stay what they are."""

import errno
import runpy
from collections.abc import Sequence
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import Registry

from mbv1_backbone.common import errors
from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error, NoSpaceError, user_errors
from mbv1_backbone.models.recipe import Recipe

PACKAGE = Path(errors.__file__).parents[1]


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (ValueError('must be 1\nor 2'), 'config a.py: must be 1 or 2'),
        (KeyError('model'), 'config a.py: model'),
        (ValueError(), 'config a.py: ValueError'),
        (FileNotFoundError(2, 'No such file', 'config a.py'), "[Errno 2] No such file: 'config a.py'"),
    ],
)
def test_what_libraries_raise_becomes_an_input_error(error, expected):
    with pytest.raises(InputError) as raised, user_errors('config a.py'):
        raise error
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    'text',
    ['x = undefined', 'x = [].append(1).y', 'x = 1 + "a"', 'assert 0', 'x ='],
)
def test_an_error_in_a_config_is_one_line(text, tmp_path):
    (tmp_path / 'c.py').write_text(text)
    for read in (lambda path: Config.fromfile(path), runpy.run_path):
        with pytest.raises(InputError, match=r'^config'), user_errors('config c.py'):
            read(str(tmp_path / 'c.py'))


@pytest.mark.parametrize('module', ['nothing_of_the_sort', 'mbv1_backbone.nothing'])
def test_an_import_that_fails_is_of_who_asks_for_it(module, tmp_path):
    """A config's is the user's; the same in our own code is a defect."""
    (tmp_path / 'c.py').write_text(f'import {module}')
    with pytest.raises(InputError, match=module), user_errors('config c.py'):
        runpy.run_path(str(tmp_path / 'c.py'))
    ours = compile(f'import {module}', str(PACKAGE / 'models' / 'layers.py'), 'exec')
    with pytest.raises(ModuleNotFoundError) as raised, user_errors('config c.py'):
        exec(ours)
    assert not isinstance(raised.value, Mbv1Error)


def build(kind, **settings):
    """What a user's config asks for."""
    registry = Registry('tested')
    registry.register_module(module=kind)
    with user_errors('config'):
        return registry.build(dict(type=kind.__name__, **settings))


def test_settings_that_a_class_does_not_take_are_one_line():
    with pytest.raises(InputError, match='unexpected keyword'):
        build(Recipe, colour='red')


@pytest.mark.parametrize('mistake', ['None.shape', 'undefined', '1 + "a"', '[].x', 'int([])', '{}[0]'])
def test_a_defect_in_our_own_code_keeps_its_traceback(mistake, monkeypatch):
    """Also where mmengine's registry raises it anew."""

    class Broken:
        def __init__(self) -> None:
            self.value = errors.defect()

    defect = compile(f'def defect():\n    return {mistake}\n', str(PACKAGE / 'models' / 'layers.py'), 'exec')
    namespace = {}
    exec(defect, namespace)
    monkeypatch.setattr(errors, 'defect', namespace['defect'], raising=False)
    for call in (lambda: build(Broken), namespace['defect']):
        with pytest.raises((AttributeError, KeyError, NameError, TypeError)) as raised, user_errors('config'):
            call()
        assert not isinstance(raised.value, Mbv1Error)


class Picky:
    """A class of ours that a config names, which works with its values before it looks at them."""

    def __init__(self, width: float = 1.0, rows: Sequence[int] = (), broken: bool = False) -> None:
        work(width, rows, broken)


def work(width, rows, broken):
    """Stands for the project's own code."""
    code = compile(
        'width * 1.0 + sum(rows) + (None if broken else 0)', str(PACKAGE / 'models' / 'layers.py'), 'eval'
    )
    return eval(code, dict(width=width, rows=rows, broken=broken))


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (dict(width='x'), "config: Picky: width must be float, got 'x'"),
        (dict(width=2.0, rows=3), 'config: Picky: rows must be Sequence[int], got 3'),
        (dict(width=None, rows='ab'), 'config: Picky: width must be float, got None; Picky: rows must be'),
    ],
)
def test_values_of_a_config_that_a_class_of_ours_does_not_take_are_named(values, message):
    with pytest.raises(InputError) as raised:
        build(Picky, **values)
    assert str(raised.value).startswith(message)


def test_a_defect_in_a_class_with_right_values_is_a_defect():
    with pytest.raises(TypeError) as raised:
        build(Picky, width=2.0, rows=(3,), broken=True)
    assert not isinstance(raised.value, Mbv1Error)


def test_what_our_own_code_meets_in_a_file_is_about_the_file():
    code = compile('x = [1]; x["images"]', str(PACKAGE / 'models' / 'layers.py'), 'exec')
    with pytest.raises(TypeError), user_errors('data x'):
        exec(code)
    with pytest.raises(InputError, match='data x: list indices'), user_errors('data x', parsing=True):
        exec(code)


def test_an_assertion_of_a_library_is_about_its_input():
    with pytest.raises(InputError, match='config: not so'), user_errors('config'):
        exec(compile('assert 0, "not so"', 'library.py', 'exec'))
    with pytest.raises(AssertionError), user_errors('config'):
        exec(compile('assert 0, "not so"', str(PACKAGE / 'models' / 'layers.py'), 'exec'))


def test_an_assertion_without_a_message_is_told_by_its_condition(tmp_path):
    (tmp_path / 'library.py').write_text('class Neck:\n    def __init__(self, a):\n        assert a > 1\n')
    made = runpy.run_path(str(tmp_path / 'library.py'))['Neck']
    with pytest.raises(InputError) as raised:
        build(made, a=1)
    assert str(raised.value) == 'config: Neck: assert a > 1 failed'


def test_a_full_disk_is_told_from_a_mistake():
    with pytest.raises(NoSpaceError, match=r'weights x: .*No space left'), user_errors('weights x'):
        raise OSError(errno.ENOSPC, 'No space left on device')


def test_the_family_passes_as_it_is():
    for kind in (DamagedFileError, errors.LockedError, errors.NotInstalledError):
        with pytest.raises(kind, match='as it is'), user_errors('subject'):
            raise kind('as it is')
