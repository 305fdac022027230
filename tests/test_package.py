"""The wheel and the source distribution: whole, the same, and at work in an environment without the clone."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.people import draw_people
from support.project import ROOT, TINY

from mbv1_backbone.common.resources import config_names
from mbv1_backbone.weights.zoo import zoo_names

pytestmark = pytest.mark.slow
FACES = 'facenet_mbv1_0.25-112_color'
CELLS = 'ssd_mbv1_0.75_tf_bccd'
# What a clone has beside the project's own files.
NOT_OURS = shutil.ignore_patterns(
    '.*', 'data', 'work_dirs', 'build', 'dist', 'site', '*.egg-info', '__pycache__', 'BCCD_Dataset', 'shared'
)
BUILD = 'import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))'


def start(*command, folder, env=None, expect=0):
    """Run a program in a folder, without this process's way of finding the clone."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('PYTHON', 'COV_'))}
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**clean, 'OMP_NUM_THREADS': '1', **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-5000:]
    return done


def build(kind, source, out, **env):
    """``build_sdist`` or ``build_wheel`` of a folder; the file."""
    out.mkdir(exist_ok=True)
    done = start(sys.executable, '-c', BUILD, kind, out, folder=source, env=env)
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """The project's files, copied, so that nothing is built in the clone."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp('clone') / 'clone', ignore=NOT_OURS)


@pytest.fixture(scope='module')
def wheel(clone):
    return build('build_wheel', clone, clone.parent / 'wheel')


@pytest.fixture(scope='module')
def place(wheel, tmp_path_factory):
    """A new environment with the wheel, the running one's other packages, and a folder to work in.

    A ``.pth`` file adds the folder of the other packages, whose own ``.pth`` files are not read: an editable
    install of this project does not come along.
    """
    folder = tmp_path_factory.mktemp('elsewhere')
    start(sys.executable, '-m', 'venv', '--without-pip', folder / 'env', folder=folder)
    python = folder / 'env' / 'bin' / 'python'
    pip = [sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet', '--no-deps', '--no-index']
    start(*pip, wheel, folder=folder)
    packages = next((folder / 'env' / 'lib').glob('python*/site-packages'))
    (packages / 'shared.pth').write_text(sysconfig.get_path('purelib') + '\n')
    found = start(python, '-c', 'import mbv1_backbone; print(mbv1_backbone.__file__)', folder=folder)
    assert Path(found.stdout.strip()) == packages / 'mbv1_backbone' / '__init__.py'
    return folder


@pytest.fixture(scope='module')
def mbv1(place):
    """The installed command, run in the folder."""

    def run(*args, expect=0):
        return start(place / 'env' / 'bin' / 'mbv1', *args, folder=place, expect=expect)

    return run


@pytest.fixture(scope='module')
def python(place):
    """Code in the new environment's Python, run in the folder."""

    def run(code):
        return start(place / 'env' / 'bin' / 'python', '-c', code, folder=place).stdout

    return run


def names_in(wheel):
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_is_whole_and_small(wheel, clone):
    assert wheel.stat().st_size < 50e6
    names = names_in(wheel)
    for folder in ('configs', 'tools', 'model_zoo'):
        files = [path.relative_to(clone) for path in (clone / folder).rglob('*') if path.is_file()]
        assert files
        assert {f'mbv1_backbone/.mim/{file}' for file in files} <= names
    package = [path.relative_to(clone) for path in (clone / 'mbv1_backbone').rglob('*') if path.is_file()]
    assert {str(file) for file in package} <= names
    assert {'mbv1_backbone/.mim/model-index.yml', 'mbv1_backbone/py.typed'} <= names
    assert not [name for name in names if not name.startswith('mbv1_backbone')]


def test_the_source_distribution_gives_the_same_wheel(clone, wheel, tmp_path):
    archive = build('build_sdist', clone, tmp_path / 'sdist')
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / 'unpacked', filter='data')
    [source] = (tmp_path / 'unpacked').iterdir()
    assert (source / 'tests' / 'test_package.py').is_file()
    again = build('build_wheel', source, tmp_path / 'wheel')
    records = []
    for path in (wheel, again):
        with zipfile.ZipFile(path) as file:
            [record] = [name for name in file.namelist() if name.endswith('/RECORD')]
            records.append(sorted(csv.reader(io.StringIO(file.read(record).decode()))))
    assert records[0] == records[1]


def test_a_publisher_says_where_mim_finds_the_weights(clone, tmp_path):
    built = build('build_wheel', clone, tmp_path, MBV1_WEIGHTS_URL='https://example.org/zoo/')
    with zipfile.ZipFile(built) as file:
        metafile = file.read('mbv1_backbone/.mim/model_zoo/metafile.yml').decode()
    assert f'\n  Weights: https://example.org/zoo/{CELLS}/{CELLS}.safetensors\n' in metafile


def test_the_lists_are_those_of_the_clone(mbv1):
    assert [line.split()[0] for line in mbv1('zoo').stdout.splitlines()[1:]] == zoo_names()
    assert [line.split()[0] for line in mbv1('zoo', 'configs').stdout.splitlines()[1:]] == config_names()


def test_it_trains_and_detects(mbv1, place):
    mbv1('demo-data', '--out-dir', 'data/demo', '--train', 16, '--val', 4)
    base = 'mbv1_backbone::detection/ssd_mbv1_demo.py'
    (place / 'mine.py').write_text(TINY.format(base=base, augmentation=''))
    mbv1('train', 'mine.py', '--work-dir', 'run', '--no-amp')
    photo = next((place / 'data' / 'demo' / 'images').glob('*'))
    mbv1('detect', 'mine.py', 'run/epoch_2.pth', photo, '--out-dir', 'mine', '--score-thr', '0')
    assert json.loads((place / 'mine' / 'detections.json').read_text())
    mbv1('detect', CELLS, photo, '--out-dir', 'found')
    assert (place / 'found' / 'detections.json').is_file()


def test_it_embeds_and_searches(mbv1, python, place):
    people = draw_people(place / 'people', people=3, images=2) / 'images'
    photo = people / 'person_b' / 'person_b_0001.jpg'
    embed = f'load({FACES!r}, finder=None).embed([{str(photo)!r}])'
    code = f'from mbv1_backbone import load; print({embed}.vectors.shape)'
    assert python(code) == '(1, 128)\n'
    mbv1('gallery', 'build', 'gallery', people, '--model', FACES, '--detector', 'none')
    answer = mbv1('gallery', 'search', 'gallery', photo, '--model', FACES, '--json')
    assert 'person_b' in answer.stdout
    mbv1('faces', 'embed', FACES, people, '--out', 'embeddings.npz', '--detector', 'none')
    assert (place / 'embeddings.npz').is_file()


def test_mmengine_alone_reads_our_configs(python):
    """As ``mmdet::`` bases are read: by what the package is called and its ``.mim`` folder."""
    code = """
import mbv1_backbone
from mmengine.utils import get_installed_path
from mmengine.config import Config
folder = get_installed_path('mbv1_backbone')
print(Config.fromfile(f'{folder}/.mim/configs/detection/ssd_mbv1_coco.py').model.backbone.type)
"""
    assert python(code) == 'MobileNetV1\n'
