"""What each room loads when all of it is imported: import-linter reads import lines, this asks Python."""

import importlib
import pkgutil
import sys

import pytest

import mbv1_backbone

# Imports every module of the packages named after the blocked libraries; prints what is loaded of others.
LOAD = """
import importlib, pkgutil, sys
before = {{name.partition('.')[0] for name in sys.modules}}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__ if {whole} else [], name + '.'):
        if not module.name.startswith({skipped!r}):
            importlib.import_module(module.name)
loaded = {{name.partition('.')[0] for name in sys.modules}}
loaded -= before | set(sys.stdlib_module_names) | {{'mbv1_backbone'}}
print(*sorted(name for name in loaded if not name.startswith(('_', 'cython_runtime', 'swig_runtime'))))
"""
TORCH = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain')
LIGHT = {'lazy_loader', 'wrapt'}


def load(run, *packages, blocked=TORCH, whole=True, skipped=()):
    script = LOAD.format(packages=packages, blocked=blocked, whole=whole, skipped=skipped)
    return set(run('-c', script).stdout.split())


def test_the_package_itself_loads_next_to_nothing(run):
    names = ('mbv1_backbone', 'mbv1_backbone.common.errors', 'mbv1_backbone.compat.hooks')
    assert load(run, *names, whole=False) == LIGHT


@pytest.mark.parametrize(
    ('room', 'allowed'),
    [
        ('common', {'numpy', 'PIL', 'packaging'}),
        (
            'retrieval',
            {'numpy', 'PIL', 'faiss', 'scipy', 'charset_normalizer'},
        ),  # FAISS's clustering takes SciPy
        ('runtime', {'numpy', 'PIL'}),
        ('video', {'numpy', 'PIL', 'cv2'}),
    ],
)
def test_rooms_that_never_load_torch(room, allowed, run):
    loaded = load(run, f'mbv1_backbone.{room}')
    assert loaded <= LIGHT | allowed | {
        '_cffi_backend',
        'cython_runtime',
        'defusedxml',
        'packaging',
        'olefile',
    }


@pytest.mark.slow
def test_rooms_that_need_no_detection_toolbox(run):
    rooms = [f'mbv1_backbone.{room}' for room in ('models', 'weights', 'face', 'runtime')]
    blocked = ('mmdet', 'mmcv', 'mmpretrain', 'pycocotools', 'faiss', 'matplotlib', 'sklearn')
    skipped = ('mbv1_backbone.face.detectors.',)  # MMDetection's models and data sets
    assert {'torch', 'mmengine'} <= load(run, *rooms, blocked=blocked, skipped=skipped)


PUBLIC = [mbv1_backbone] + [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(mbv1_backbone.__path__, 'mbv1_backbone.')
    if module.ispkg and not module.name.startswith('mbv1_backbone.cli')  # a command, no library
]


@pytest.mark.parametrize('package', PUBLIC, ids=lambda package: package.__name__)
def test_public_names_are_there(package):
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package)) | {'__version__'}
    for name in package.__all__:
        if f'{package.__name__}.{name}' not in sys.modules:
            assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match='nonesuch'):
        _ = package.nonesuch


def test_what_answers_and_searches_is_there_without_torch(run):
    """What is kept of an earlier start, and galleries, need a runtime alone."""
    rooms = ('inference.loading', 'face.files', 'face_gallery.enrolment', 'cli.gallery.people')
    loaded = load(run, *(f'mbv1_backbone.{room}' for room in rooms), whole=False)
    assert not loaded & set(TORCH)
