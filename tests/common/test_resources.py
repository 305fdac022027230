"""Configs by name, wherever the program runs; and a clone's folders or an installed package's."""

import shutil

import pytest
from support.project import ROOT

from mbv1_backbone.common import resources
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import config_names, find_config, resource_folder

CONFIG = ROOT / 'configs' / 'detection' / 'ssd_mbv1_coco.py'


@pytest.mark.parametrize(
    'name',
    [
        'mbv1_backbone::detection/ssd_mbv1_coco.py',
        'configs/detection/ssd_mbv1_coco.py',
        'detection/ssd_mbv1_coco.py',
        'detection/ssd_mbv1_coco',
        'ssd_mbv1_coco.py',
        'ssd_mbv1_coco',
        CONFIG,
    ],
)
def test_a_config_is_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIG


def test_names_with_dots_are_whole_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config('ssd_mbv1_0.75_tf_bccd') == CONFIG.with_name('ssd_mbv1_0.75_tf_bccd.py')
    assert find_config('facenet_mbv1_1.0-160_distill').parent.name == 'face'


def test_a_file_of_the_users_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'ssd_mbv1_coco.py').touch()
    assert find_config('ssd_mbv1_coco.py').resolve() == (tmp_path / 'ssd_mbv1_coco.py').resolve()


@pytest.mark.parametrize(
    ('name', 'complaint'),
    [
        (
            'ssd_mbv1_cocoo.py',
            'no such config of mbv1_backbone; did you mean ssd_mbv1_coco?',
        ),
        ('mbv1_backbone::face/ssd_mbv1_coco.py', 'no such config'),
        ('mbv1_backbone::../model_zoo/metafile.yml', 'no such config'),
        ('/nowhere/ssd_mbv1_coco.py', r'config /nowhere/ssd_mbv1_coco.py: no such file$'),
        ('_base_/default_runtime', 'no such config'),
    ],
)
def test_what_is_no_config_is_one_line(name, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=complaint.replace('?', r'\?')):
        find_config(name)


def test_every_config_has_a_name_of_its_own():
    stems = [name.rpartition('/')[2] for name in config_names()]
    assert 'ssd_mbv1_demo.py' in stems
    assert len(stems) == len(set(stems))


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / 'site-packages' / 'mbv1_backbone'
    shutil.copytree(ROOT / 'configs', package / '.mim' / 'configs')
    shutil.copy(ROOT / 'model-index.yml', package / '.mim')
    monkeypatch.setattr(resources, '_PACKAGE', package)
    assert find_config('ssd_mbv1_coco') == package / '.mim/configs/detection/ssd_mbv1_coco.py'
    with pytest.raises(InputError, match=r'model_zoo/ is neither in .*\.mim nor beside'):
        resource_folder('model_zoo')
