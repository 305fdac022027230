"""What exported files cannot hold, and what is no longer what was written, is said in one line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from support.plain_graphs import classifier, patterns

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.about import labels_of
from mbv1_backbone.export.detectors import limits_of
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.embedder import Embedded
from mbv1_backbone.inference.exportable import exportable_backbone
from mbv1_backbone.inference.parity import compare_embedders
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.runtime.sessions import open_session
from mbv1_backbone.runtime.spec import FORMAT, ModelSpec

PLANNED = ('.tflite', '.ncnn.param', '.mlpackage')


def with_a_weight_of(value, precision='fp32'):
    graph, spec = classifier(precision)
    weights = [weight for name, weight in graph.named_parameters() if weight.ndim == 4]
    with torch.no_grad():
        weights[3][0, 0, 0, 0] = value
    return graph, spec


@pytest.mark.parametrize('suffix', PLANNED)
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_network_that_is_not_finite_is_not_written(tmp_path, suffix, value):
    graph, spec = with_a_weight_of(value)
    with pytest.raises(InputError, match=r'conv\.weight: .* files hold finite numbers'):
        write(graph, spec, tmp_path / f'c{suffix}')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', PLANNED[:2])
def test_weights_that_float16_does_not_hold_are_refused(tmp_path, suffix):
    graph, spec = with_a_weight_of(1e6, 'fp16')
    with pytest.raises(InputError, match=r'conv\.weight: fp16 holds values up to 65504, got '):
        write(graph, spec, tmp_path / f'c{suffix}')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', PLANNED[::2])
def test_a_classs_name_of_half_a_character_is_refused(tmp_path, suffix):
    graph, spec = classifier()
    spec = replace(spec, classes=('\ud800', *'bcdefghij'))
    with pytest.raises(InputError, match=r"the name of a class is no valid text: '\\ud800'"):
        write(graph, spec, tmp_path / f'c{suffix}')


def test_openvino_weights_of_another_file_are_refused(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'a.xml')
    images = patterns(2)
    right = open_session(tmp_path / 'a.xml', precision='fp32').run(images)[0]
    with torch.no_grad():
        for weight in graph.parameters():
            weight.mul_(1.1)
    (tmp_path / 'other').mkdir()
    write(graph, spec, tmp_path / 'other' / 'a.xml')
    shutil.move(tmp_path / 'a.bin', tmp_path / 'kept')
    shutil.copy(tmp_path / 'other' / 'a.bin', tmp_path)
    with pytest.raises(InputError, match=r'a\.bin: damaged, or not the weights of a\.xml'):
        open_session(tmp_path / 'a.xml')
    shutil.move(tmp_path / 'kept', tmp_path / 'a.bin')
    assert (open_session(tmp_path / 'a.xml', precision='fp32').run(images)[0] == right).all()


@pytest.mark.parametrize('channels', [1, 4])
def test_a_backbone_of_other_images_than_rgb_is_refused(channels):
    backbone = MobileNetV1(0.25, in_channels=channels)
    recipe = Recipe('test', 0.25, input_size=64)
    with pytest.raises(InputError, match=f'take RGB images; this backbone has in_channels={channels}'):
        exportable_backbone(backbone, recipe, (64, 64))


def test_labels_differ_also_from_names_that_look_like_labels():
    _, spec = classifier()
    names = ('a', 'a', 'a (1)', *'bcdefgh')
    labels = labels_of(replace(spec, classes=names), 10)
    assert labels == ['a (0)', 'a (1) (1)', 'a (1)', *'bcdefgh']


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(nms=dict(iou_threshold=0.5, class_agnostic=True)), r'nms cannot have class_agnostic=True'),
        (dict(nms=dict(iou_threshold=0.5, max_num=5)), r'nms cannot have max_num=5'),
        (dict(nms=dict(type='nms')), r'nms must have an iou_threshold'),
        (dict(max_per_img=-1), r'max_per_img must be at least 1, got -1'),
        (dict(min_bbox_size=8), r'min_bbox_size must be 0, got 8'),
    ],
)
def test_suppression_that_files_do_not_do_is_refused(change, said):
    cfg = dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.5, split_thr=9), max_per_img=20)
    assert limits_of(ConfigDict(cfg, min_bbox_size=0)) == (0.1, 0.5, 20)
    with pytest.raises(ValueError, match=said):
        limits_of(ConfigDict({**cfg, **change}))


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        *((text, 'not a file of mbv1 export') for text in ('', '3', 'null', '[]', '"a"', '[' * 100_000)),
        ('{"format": 2, "colour": 1}', f'format 2, this version knows {FORMAT}'),
    ],
)
def test_what_is_no_spec_or_of_a_newer_version_is_said(text, said):
    with pytest.raises(InputError, match=f'^f: {said}$'):
        ModelSpec.from_text(text, Path('f'))


@pytest.mark.parametrize(
    'change',
    [
        dict(kind='segmenter'),
        dict(kind=[]),
        dict(size=[64]),
        dict(size='ab'),
        dict(precision='int4'),
        dict(recipe=[]),
        dict(classes=[1]),
        dict(multiple=0),
        dict(dims='4'),
        dict(fingerprint=None),
    ],
)
def test_a_spec_of_impossible_values_is_damaged(change):
    _, spec = classifier()
    values = json.loads(spec.as_text())
    assert ModelSpec.from_text(json.dumps(values), Path('f')).as_text() == spec.as_text()
    [key] = change
    with pytest.raises(InputError, match=f'^f: says {key}=.*, must be '):
        ModelSpec.from_text(json.dumps({**values, **change}), Path('f'))


def test_an_export_is_not_compared_on_fewer_images_than_it_says():
    found = Embedded(np.eye(2, dtype=np.float32)[:1], np.array([1]), {0: 'cannot be decoded'})
    embedder = SimpleNamespace(embed=lambda images: found)
    with pytest.raises(InputError, match=r'^a\.jpg: cannot be decoded$'):
        compare_embedders(embedder, embedder, 'fp32', [Path('a.jpg'), Path('b.jpg')])


def test_weights_that_belong_to_no_network_here_are_not_written_over(tmp_path, capsys):
    (tmp_path / 'w.bin').write_text('mine')
    args = ['export', 'x', '--to', 'openvino', '--out', str(tmp_path / 'w.xml'), '--images', 'y']
    assert main(args) == 2
    assert 'w.bin is there, and no w.xml that it belongs to' in capsys.readouterr().err
    assert (tmp_path / 'w.bin').read_text() == 'mine'
