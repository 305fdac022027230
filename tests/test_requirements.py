"""What the package imports is what it says that it requires."""

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
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
        ('classification', ['classification']),
        ('geolocation', ['classification']),
        ('weights', ['detection', 'weights', 'slim']),
        ('runtime', ['deploy', 'litert', 'ncnn', 'coreml', 'executorch']),
        ('retrieval', ['faces', 'milvus']),
        ('detection', ['detection']),
        ('face', ['faces', 'teachers', 'deploy', 'detection']),  # its detectors are MMDetection's
        ('export', ['detection', 'deploy', 'litert', 'nncf', 'executorch']),
        ('training', ['detection', 'deploy']),
        ('inference', ['detection', 'faces', 'deploy', 'weights']),
        ('face_gallery', ['faces']),
        ('server', ['server']),
        ('video', ['video']),
        ('jobs', ['jobs', 'faces', 'ray']),
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


def closure(*extras):
    """All distributions that come with the project and some extras, in this environment."""
    pending, found = list(required(*extras)), set()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        needed = [Requirement(line) for line in lines]
        pending += [canonical(r.name) for r in needed if r.marker is None or r.marker.evaluate({'extra': ''})]
    return found


WITHOUT = """
import importlib.abc, importlib.util, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {absent!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
original = importlib.util.find_spec

def find_spec(name, *args):
    return None if name.partition('.')[0] in {absent!r} else original(name, *args)
importlib.util.find_spec = find_spec
import numpy as np
photo = np.zeros((200, 200, 3), np.uint8)
"""
EMBED = """
from mbv1_backbone import load
print(load('facenet_mbv1_0.25-112_color', finder=None).embed([photo]).vectors.shape)
"""
DETECT = """
from mbv1_backbone import load
print(len(load('ssd_mbv1_0.75_tf_bccd').detect([photo])))
"""
SEARCH = """
from mbv1_backbone.retrieval import Gallery
gallery = Gallery.create(sys.argv[1] + '/g', 2, 'f' * 64, dict(size=112))
gallery.add(np.eye(2, dtype=np.float32), ['ada', 'bob'], ['a', 'b'], ['1' * 64, '2' * 64])
print(gallery.search(np.eye(2, dtype=np.float32)[:1])[0][0].identity)
"""
IMPORT = """
from mbv1_backbone import import_weights
print(import_weights('facenet_mbv1_0.25-112_color').recipe.widen_factor)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('extras', 'code', 'printed'),
    [
        (['deploy'], EMBED, '(1, 128)'),
        (['faces'], EMBED, '(1, 128)'),
        (['faces'], SEARCH, 'ada'),
        (['detection'], DETECT, '1'),
        (['deploy'], IMPORT, '0.25'),
    ],
    ids=['deploy embeds', 'faces embed', 'faces search', 'detection detects', 'deploy imports'],
)
def test_an_extra_is_enough_for_what_it_is_for(extras, code, printed, run, tmp_path):
    allowed = closure(*extras)
    absent = sorted(top for top in imported('mbv1_backbone') if distribution(top) not in allowed)
    assert 'faiss' in absent or 'faces' in extras
    done = run('-c', WITHOUT.format(absent=absent) + code, tmp_path)
    assert done.stdout.splitlines()[-1] == printed
