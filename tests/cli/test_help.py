"""Help answers without loading what the work needs, and so does completion."""

import subprocess

import pytest
from support.project import ROOT
from support.verbs import verbs

from mbv1_backbone.cli.main import main

LISTED = """
import sys
from mbv1_backbone.cli.main import main
for words in {verbs!r}:
    try:
        main([*words, '--help'])
    except SystemExit as end:
        assert end.code == 0
heavy = ('torch', 'mmengine', 'mmdet', 'mmcv', 'numpy', 'matplotlib', 'cv2', 'faiss')
print('loaded:', [name for name in heavy if name in sys.modules])
"""


def test_help_of_every_verb_loads_no_library(run):
    words = [(), *verbs()]
    done = run('-c', LISTED.format(verbs=words))
    assert done.stdout.count('usage: mbv1') == len(words)
    assert done.stdout.splitlines()[-1] == 'loaded: []'


def test_the_package_is_the_command(run):
    assert run('-m', 'mbv1_backbone', '--help').stdout.startswith('usage: mbv1')


@pytest.mark.parametrize('tool', sorted(path.name for path in (ROOT / 'tools').glob('*.py')))
def test_a_tool_is_a_way_to_a_verb(tool, run):
    done = run(f'tools/{tool}', '--help')
    assert done.stdout.startswith('usage: mbv1 ')


def test_exit_codes_are_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    said = capsys.readouterr().out
    for code in ('0  ', '1  ', '2  ', '130', '141'):
        assert f'\n  {code}  ' in said


def test_completion_knows_verbs_options_and_the_zoo(capsys, tmp_path):
    assert main(['completion', 'bash']) == 0
    script = tmp_path / 'mbv1.bash'
    script.write_text(capsys.readouterr().out)
    complete = (
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_shtab_mbv1 mbv1 "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def completed(*words):
        done = subprocess.run(
            ['bash', '-c', complete, script, 'mbv1', *words], capture_output=True, text=True, timeout=60
        )
        return done.stdout.split()

    assert completed('tra') == ['train']
    assert completed('gallery', 'sea') == ['search']
    assert completed('train', '--work') == ['--work-dir']
    assert completed('export', '--to', 'o') == ['onnx', 'openvino']
    assert 'ssd_mbv1_0.75_tf_bccd' in completed('detect', 'ssd')
    assert completed('train', 'ssdlite') == ['ssdlite_mbv1_coco']  # a config, that is no model of the zoo


@pytest.mark.parametrize('shell', ['zsh', 'tcsh'])
def test_completion_of_other_shells(shell, capsys):
    assert main(['completion', shell]) == 0
    assert 'gallery' in capsys.readouterr().out
