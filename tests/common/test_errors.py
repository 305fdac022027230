import pytest

from mbv1_backbone.common.errors import InputError, command_line, user_errors


def failing(error):
    @command_line
    def main():
        raise error

    return main


def test_an_input_error_is_one_line_and_exit_code_2(capsys):
    assert failing(InputError('--num must be\n at least 1, got 0'))() == 2
    assert capsys.readouterr().err == 'error: --num must be at least 1, got 0\n'


def test_an_error_from_a_worker_is_its_last_line(capsys):
    message = (
        'Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1\nmbv1_backbone.common.errors.InputError: image a.jpg: is broken'
    )
    assert failing(InputError(message))() == 2
    assert capsys.readouterr().err == 'error: image a.jpg: is broken\n'


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())()


def test_success_and_interruption():
    assert command_line(lambda: None)() == 0
    assert failing(KeyboardInterrupt())() == 130


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
