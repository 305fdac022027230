"""What the package imports is what it says that it requires."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
from support.project import ROOT

tomllib = pytest.importorskip('tomllib', reason='tomllib is in Python 3.11 and newer')
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']
# Of packages that are not installed everywhere, or whose name several distributions have.
KNOWN = {
    **{package: names[0] for package, names in packages_distributions().items()},
    **{'cv2': 'opencv-python', 'faiss': 'faiss-cpu', 'mmcv': 'mmcv-lite', 'tensorflow': 'tensorflow'},
}


def canonical(name):
    return re.sub(r'[-_.]+', '-', name).lower()


def required(*extras):
    """Distributions that the project and some of its extras require."""
    lines = [line for extra in extras for line in EXTRAS[extra]] + PROJECT['dependencies']
    return {canonical(re.match(r'[\w.-]+', line)[0]) for line in lines}


def imported(folder):
    """Third-party packages by the files that import them, by statement or by ``import_module('NAME')``."""
    found = {}
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith('import_module'):
                names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            for name in names:
                top = name.partition('.')[0]
                if top not in sys.stdlib_module_names and top not in ('mbv1_backbone', 'benchmarks'):
                    found.setdefault(top, set()).add(path.relative_to(ROOT).as_posix())
    return found


def distribution(package):
    return canonical(KNOWN.get(package, package))


@pytest.mark.parametrize(
    ('room', 'extras'),
    [
        ('common', []),
        ('compat', ['detection']),
        ('models', ['detection']),
        ('weights', ['detection', 'weights', 'slim']),
        ('runtime', ['deploy']),
        ('retrieval', ['faces']),
        ('detection', ['detection']),
        ('face', ['faces', 'teachers', 'deploy']),
        ('export', ['detection', 'deploy']),
        ('training', ['detection', 'deploy']),
        ('inference', ['detection', 'faces', 'deploy', 'weights']),
        ('face_gallery', ['faces']),
    ],
)
def test_a_room_imports_what_its_extras_bring(room, extras):
    wanted = {distribution(name): files for name, files in imported(f'mbv1_backbone/{room}').items()}
    missing = {name: sorted(files) for name, files in wanted.items() if name not in required(*extras)}
    assert missing == {}


def test_the_whole_package_and_its_tools_import_nothing_else():
    extras = set(EXTRAS) - {'dev', 'docs'}
    for folder in ('mbv1_backbone', 'tools', 'configs'):
        undeclared = {
            name: sorted(files)
            for name, files in imported(folder).items()
            if distribution(name) not in required(*extras)
        }
        assert undeclared == {}
