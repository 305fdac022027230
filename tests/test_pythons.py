"""The other Pythons that the package states, where they are on this machine (pyenv's, or on the path)."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
from support.project import ROOT

PACKAGE = ROOT / 'mbv1_backbone'
STATED = re.findall(r'Python :: (3\.\d+)"', (ROOT / 'pyproject.toml').read_text())
OTHERS = [version for version in STATED if version != f'{sys.version_info.major}.{sys.version_info.minor}']

# Modules that need no compiled library, on pure Python ones of this environment.
LIGHT = """
import sys
sys.path.append({libraries!r})
import mbv1_backbone
from mbv1_backbone import InputError
from mbv1_backbone.common.files import write_atomically
import mbv1_backbone.compat.registry
print('%d.%d' % sys.version_info[:2])
"""


def interpreter(version: str) -> str:
    """A Python of this version that starts."""
    pyenv = sorted((Path.home() / '.pyenv' / 'versions').glob(f'{version}.*/bin/python'))
    found = str(pyenv[-1]) if pyenv else shutil.which(f'python{version}')
    if found is None:
        pytest.skip(f'no Python {version} here')
    return found


@pytest.mark.parametrize('version', OTHERS)
def test_every_module_compiles(version, run):
    compiled = 'import sys; [compile(open(path).read(), path, "exec") for path in sys.argv[1:]]'
    run('-W', 'error', '-c', compiled, *sorted(PACKAGE.rglob('*.py')), program=interpreter(version))


@pytest.mark.parametrize('version', OTHERS)
def test_the_package_is_imported(version, run, tmp_path):
    for name in ('lazy_loader', 'wrapt'):  # only these: compiled libraries of this Python are not that one's
        (tmp_path / name).symlink_to(Path(importlib.util.find_spec(name).origin).parent)
    script = LIGHT.format(libraries=str(tmp_path))
    done = run('-c', script, program=interpreter(version), env={'PYTHONPATH': str(ROOT)})
    assert done.stdout.split() == [version]
