"""What load() exports is kept for the next start, and made anew where it is not what it should be."""

import os

import numpy as np
import pytest
from PIL import Image
from support.project import ROOT

from mbv1_backbone import load
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export import writers
from mbv1_backbone.inference import cache
from mbv1_backbone.inference.config_files import config_files
from mbv1_backbone.weights.zoo import config_of, find_checkpoint, zoo_models

FACES = 'facenet_mbv1_0.25-112_color'
SSD = 'ssd_mbv1_0.75_tf_bccd'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'exported'


@pytest.fixture
def exports(monkeypatch):
    """Paths that were exported to."""
    written, write = [], writers.write

    def counted(graph, spec, path, *args):
        written.append(path)
        write(graph, spec, path, *args)

    monkeypatch.setattr(writers, 'write', counted)
    return written


def embed():
    return load(FACES, backend='onnxruntime', kind='embedder', finder=None)


def test_the_second_load_exports_nothing(folder, exports):
    first, second = embed(), embed()
    assert len(exports) == 1
    assert second.fingerprint == first.fingerprint
    assert sorted(path.suffix for path in folder.iterdir()) == ['.onnx', '.sha256']
    load(FACES, backend='onnxruntime', cache=False)
    assert len(exports) == 2


def test_a_checkpoint_that_is_not_taken_is_refused_at_every_start(folder):
    for _ in range(2):
        with pytest.raises(InputError, match=r'a second checkpoint mine\.pth goes with a config only'):
            load(FACES, 'mine.pth', backend='onnxruntime')
        embed()


def test_a_cache_that_cannot_be_written_to_is_read(folder, monkeypatch):
    cache.keep('key', write_name)

    def refuse(*args):
        raise PermissionError('read-only')

    monkeypatch.setattr(os, 'utime', refuse)
    assert cache.find('key') == folder / 'key.onnx'


def test_a_key_tells_the_code_of_all_rooms_that_an_export_goes_through(run):
    script = (
        'import sys; from mbv1_backbone import load; '
        f'load({FACES!r}, backend="onnxruntime", cache=False); '
        'print(*{n.split(".")[1] for n in sys.modules if n.startswith("mbv1_backbone.")})'
    )
    rooms = {room for room in run('-c', script).stdout.split() if (ROOT / 'mbv1_backbone' / room).is_dir()}
    assert len(rooms) > 8
    assert rooms <= set(cache._ROOMS)


@pytest.mark.parametrize('damage', ['cut', 'changed', 'unrecorded'])
def test_a_damaged_file_is_made_anew(folder, exports, damage):
    embed()
    [path] = folder.glob('*.onnx')
    whole = path.read_bytes()
    if damage == 'unrecorded':
        path.with_suffix('.sha256').unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == 'cut' else whole[:-1] + b'x')
    assert embed().dims == 128
    assert len(exports) == 2
    embed()
    assert len(exports) == 2


def test_without_a_folder_that_can_be_written_to_there_is_one_line(tmp_path, monkeypatch, caplog):
    (tmp_path / 'file').write_text('no folder')
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'file'))
    assert embed().dims == 128
    [record] = caplog.records
    assert f'{tmp_path / "file"}' in record.getMessage()
    assert 'is not kept for the next start' in record.getMessage()
    assert '\n' not in record.getMessage()


def test_a_key_tells_all_that_an_export_is_made_of(tmp_path, monkeypatch):
    weights, config = find_checkpoint(SSD), tmp_path / 'own.py'
    config.write_text(f"_base_ = '{config_of(SSD)}'\n")
    first = cache.key_of(weights, config)
    assert first == cache.key_of(weights, config)
    config.write_text(f"_base_ = '{config_of(SSD)}'\nmodel = dict(test_cfg=dict(score_thr=0.1))\n")
    keys = {first, cache.key_of(weights, config)}
    other = tmp_path / 'other.safetensors'
    other.write_bytes(weights.read_bytes() + b' ')
    keys.add(cache.key_of(other, config))
    monkeypatch.setattr(cache, 'OPSET', 18)
    keys.add(cache.key_of(weights, config))
    monkeypatch.setattr(cache, '_version', lambda name: '9')
    keys.add(cache.key_of(weights, config))
    monkeypatch.setattr(cache, 'hash_of_code', lambda rooms: 'edited')
    keys.add(cache.key_of(weights, config))
    assert len(keys) == 6


@pytest.mark.parametrize('name', list(zoo_models()))
def test_the_zoos_exports_can_be_kept(name):
    assert cache.export_key(name) is not None


@pytest.mark.parametrize(
    'text',
    [
        "import os\nmodel = dict(type=os.environ['KIND'])\n",
        'with read_base():\n    from .a import *\n',
        "custom_imports = dict(imports=['my_heads'])\n",
        "data_root = '{{$DATA:data}}'\n",
        "_base_ = 'nowhere::a.py'\n",
        "_base_ = './none.py'\n",
        "_base_ = ['a' + '.py']\nmodel = (\n",
        "classes = open('x.txt').read().split()\n",
        "model = dict(classes=open('x.txt'))\n",
        "x = __import__('os').environ\n",
        'try:\n    from a import classes\nexcept ImportError:\n    classes = ()\n',
        'if True:\n    import os\n',
        "dict = open\nmodel = dict('x.txt')\n",
        "if True:\n    custom_imports = dict(imports=['my_heads'])\n",
        "custom_imports = dict(imports=[])\ncustom_imports['imports'] += ['my_heads']\n",
        "name = 'my_heads'\ncustom_imports = dict(imports=[name])\n",
        '@open\nclass C:\n    pass\n',
    ],
)
def test_configs_whose_text_does_not_tell_all_have_no_key(tmp_path, text):
    (tmp_path / 'c.py').write_text(text)
    assert config_files(tmp_path / 'c.py') is None
    assert cache.key_of(find_checkpoint(SSD), tmp_path / 'c.py') is None


def test_a_config_is_its_bases_too(tmp_path):
    config = tmp_path / 'c.py'
    config.write_text("_base_ = ['mbv1_backbone::detection/ssd_mbv1_coco.py', './d.py']\n")
    (tmp_path / 'd.py').write_text("_base_ = 'c.py'\nx = 1\n")  # a circle ends
    found = config_files(config)
    assert {config, tmp_path / 'd.py', ROOT / 'configs' / 'detection' / 'ssd_mbv1_coco.py'} <= set(found)
    assert len(found) > 4


QUICK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
from mbv1_backbone import load
network = load({name!r}, finder=None)
print(network.backend, network.{verb}({photo!r}))
"""
TOOLBOXES = ('mmdet', 'mmcv', 'mmpretrain', 'pycocotools')
HEAVY = ('torch', 'torchvision', 'mmengine', 'matplotlib', 'sklearn', 'scipy', *TOOLBOXES)


def photograph(tmp_path):
    Image.fromarray(np.full((120, 120, 3), 90, np.uint8)).save(tmp_path / 'a.jpg')
    return str(tmp_path / 'a.jpg')


def test_faces_need_no_toolbox_and_the_second_start_no_torch(folder, tmp_path, run):
    photo = photograph(tmp_path)
    for blocked in (TOOLBOXES, HEAVY):
        script = QUICK.format(blocked=blocked, name=FACES, verb='embed', photo=photo)
        assert 'Embedded(vectors: 1 x 128, images: 1)' in run('-c', script).stdout
    assert len(list(folder.glob('*.onnx'))) == 1


@pytest.mark.slow
def test_a_detectors_second_start_needs_no_torch(folder, tmp_path, run):
    load(SSD)
    blocked = set(HEAVY) - {'mmdet'}  # whose folder holds bases of the config; importing it needs torch
    script = QUICK.format(blocked=tuple(blocked), name=SSD, verb='detect', photo=photograph(tmp_path))
    assert '[Detections(' in run('-c', script).stdout


def write_name(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.stem)


def test_what_was_not_used_for_longest_makes_room(folder, monkeypatch):
    monkeypatch.setattr(cache, '_MAX_FILES', 2)
    for age, key in enumerate(('a', 'b', 'c')):
        path = cache.keep(key, write_name)
        os.utime(path, (1000 + age, 1000 + age))
        cache.find('a')  # used just now
    assert sorted(path.name for path in folder.iterdir()) == [
        'a.onnx',
        'a.sha256',
        'c.onnx',
        'c.sha256',
    ]


def test_what_killed_exports_left_is_removed_after_a_day(folder):
    old, new = folder / '.a.onnx.x1', folder / '.b.onnx.x2'
    for path in (old, new):
        path.mkdir(parents=True)
        (path / 'model.onnx').write_text('half')
    (folder / '.c.onnx.x3.tmp').write_text('half')
    for path in (old, folder / '.c.onnx.x3.tmp'):
        os.utime(path, (1000, 1000))
    cache.keep('key', write_name)
    assert sorted(path.name for path in folder.iterdir()) == ['.b.onnx.x2', 'key.onnx', 'key.sha256']
