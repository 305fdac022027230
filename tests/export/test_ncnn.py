"""ncnn files against the PyTorch models that they were made of, by the runtime itself."""

import json
import os

import ncnn
import numpy as np
import pytest
import torch
from support import embedders
from support.plain_graphs import IMAGENET, classifier, patterns, small_ssd, ssd_spec, taps, two_stages
from support.processes import check_other_processes

from mbv1_backbone import load
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.exportable import embedder_spec
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.runtime.sessions import is_exported, open_session

SSD = 'ssd_mbv1_0.75_tf_bccd'


@pytest.mark.parametrize('gray', [False, True])
def test_an_embedder_answers_as_the_pytorch_one(tmp_path, gray):
    model = embedders.build(gray=gray)
    graph, images = EmbedderGraph(model), patterns(8)
    right = graph(torch.from_numpy(images))[0].detach().numpy()
    sizes = []
    for precision, least in (('fp32', 0.999999), ('fp16', 0.9)):  # a random one is sensitive
        path = tmp_path / f'{precision}.ncnn.param'
        spec = embedder_spec(model, recipe_of(model, 'test'), precision)
        write(graph, spec, path)
        session = open_session(path)
        assert (session.backend.split()[0], session.spec.fingerprint) == ('ncnn', spec.fingerprint)
        assert (session.run(images)[0] * right).sum(1).min() > least
        sizes.append(path.with_suffix('.bin').stat().st_size)
    assert sizes[1] < 0.55 * sizes[0]


@pytest.mark.parametrize(
    ('options', 'normalise'),
    [
        ({}, IMAGENET),
        (dict(padding='same', act_cfg=dict(type='ReLU6')), dict(mean=(127.5,) * 3, std=(127.5,) * 3)),
        (dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1)), IMAGENET),
    ],
)
def test_a_classifier_answers_as_the_pytorch_one(tmp_path, options, normalise):
    graph, spec = classifier(normalise=normalise, **options)
    write(graph, spec, tmp_path / 'c.ncnn.param')
    session, images = open_session(tmp_path / 'c.ncnn.param', threads=1), patterns(4)
    [right] = graph(torch.from_numpy(images))
    np.testing.assert_allclose(session.run(images)[0], right.detach().numpy(), atol=2e-5)
    assert session.run(images[:0])[0].shape == (0, 10)


def test_taps_in_the_middle_are_outputs_too(tmp_path):
    graph, spec = taps()
    write(graph, spec, tmp_path / 'b.ncnn.param')
    images = patterns(2)
    found = open_session(tmp_path / 'b.ncnn.param').run(images)
    for right, map_ in zip(graph(torch.from_numpy(images)), found, strict=True):
        np.testing.assert_allclose(map_, right.detach().numpy(), atol=2e-4)
    network = ncnn.Net()
    network.load_param(str(tmp_path / 'b.ncnn.param'))
    assert list(network.output_names()) == list(graph.outputs)


@pytest.mark.parametrize('background', [True, False])
def test_a_small_ssdlite_detects_as_the_pytorch_one(tmp_path, background):
    model = small_ssd(background=background)
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model), tmp_path / 's.ncnn.param')
    images = patterns(4, 128)
    with torch.no_grad():
        right = [output.numpy() for output in graph(torch.from_numpy(images))]
    found = open_session(tmp_path / 's.ncnn.param').run(images)
    assert [output.shape for output in found] == [output.shape for output in right]
    assert found[2].dtype == np.int64
    np.testing.assert_allclose(found[1][:, 0], right[1][:, 0], atol=1e-3)
    for boxes, labels, box, label in zip(found[0], found[2], right[0], right[2], strict=True):
        assert np.abs(boxes[labels == label[0]] - box[0]).max(1).min() < 0.1


def test_an_image_without_anything_has_no_detections(tmp_path):
    model = small_ssd()
    model.bbox_head.test_cfg.score_thr = 0.9999
    write(detector_graph_of(model, (128, 128)), ssd_spec(model), tmp_path / 's.ncnn.param')
    detector = load(tmp_path / 's.ncnn.param', kind='detector')
    assert isinstance(detector, Detector)
    [found] = detector.detect([np.full((90, 70, 3), 127, np.uint8)])
    assert len(found) == 0


def test_a_gallery_takes_the_file(tmp_path):
    model = embedders.build()
    write(EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test')), tmp_path / 'e.ncnn.param')
    exported = load(tmp_path / 'e.ncnn.param', kind='embedder', finder=None)
    ours = FaceEmbedder.of_model(model, recipe_of(model, 'test'))
    with Gallery.create(tmp_path / 'g', ours.dims, ours.fingerprint, ours.preprocessing) as gallery:
        gallery.check_model(exported.fingerprint, exported.preprocessing)


def test_a_file_runs_in_a_forked_process_and_is_pickled(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.ncnn.param')
    said = {name: value for name, value in os.environ.items() if name != 'OMP_WAIT_POLICY'}
    said |= dict(OMP_DISPLAY_ENV='verbose')
    _, stderr = check_other_processes(tmp_path / 'c.ncnn.param', said)
    assert "GOMP_SPINCOUNT = '0'" in stderr  # threads do not spin: on a busy machine that takes seconds


def test_as_many_images_at_once_as_the_process_has_cores(tmp_path, monkeypatch):
    graph, spec = classifier()
    for suffix in ('.ncnn.param', '.tflite'):
        write(graph, spec, tmp_path / f'c{suffix}')
        for runtime in ('ncnn', 'litert'):
            monkeypatch.setattr(f'mbv1_backbone.runtime.{runtime}.cores', lambda: 3)
        assert open_session(tmp_path / f'c{suffix}', mode='throughput').parallel == 3


def test_two_stages_are_refused_in_one_line(tmp_path):
    graph, spec = two_stages()
    with pytest.raises(InputError, match=r'ncnn.*no operator RoIAlign.*it to onnx or openvino') as raised:
        write(graph, spec, tmp_path / 'f.ncnn.param')
    assert '\n' not in str(raised.value)
    graph, spec = classifier(precision='int8')
    with pytest.raises(
        InputError,
        match=r'\.param is written in fp32, fp16; int8 is for .*\(ncnn quantises by ncnn2table and',
    ):
        write(graph, spec, tmp_path / 'c.ncnn.param')
    graph, spec = classifier()
    with pytest.raises(InputError, match=r'c\.param: must end in \.ncnn\.param'):
        write(graph, spec, tmp_path / 'c.param')
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.ncnn.param')
    files = {suffix: (tmp_path / f'c.ncnn.{suffix}').read_bytes() for suffix in ('param', 'bin', 'json')}
    assert is_exported(tmp_path / 'c.ncnn.param')
    about = json.loads(files['json'])
    for suffix, content, complaint in (
        ('bin', files['bin'][:-4], 'damaged, or not the file that'),
        ('param', files['param'].replace(b'Softmax', b'Sigmoid'), 'damaged, or not the file that'),
        ('json', b'{}', 'not a file of mbv1 export'),
        ('json', b'[1', 'not a file of mbv1 export'),
        ('json', json.dumps({**about, 'outputs': 3}).encode(), 'not a file of mbv1 export'),
        ('json', None, r'c\.ncnn\.json is not beside it'),
        ('bin', None, r'c\.ncnn\.bin is not beside it'),
    ):
        path = tmp_path / f'c.ncnn.{suffix}'
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(InputError, match=complaint):
            open_session(tmp_path / 'c.ncnn.param')
        path.write_bytes(files[suffix])
    for backend, complaint in (('litert', r'reads \.tflite files only'), ('torch', 'torch runs checkpoints')):
        with pytest.raises(InputError, match=complaint):
            load(tmp_path / 'c.ncnn.param', backend=backend)
    with pytest.raises(InputError, match=r'ncnn runs \.param files of mbv1 export --to ncnn'):
        load('facenet_mbv1_0.25-112_distill', backend='ncnn')


def test_the_verb_writes_compares_and_others_take_the_file(tmp_path, shared, capsys):
    images, out = str(shared / 'bccd' / 'JPEGImages'), tmp_path / 's.ncnn.param'
    args = ['--to', 'ncnn', '--precision', 'fp16', '--images', images, '--num', '3']
    assert main(['export', SSD, *args, '--out', str(out)]) == 0
    shown = capsys.readouterr().out
    assert 'same_boxes           1' in shown
    assert 'weights in fp16, computed in fp32, against PyTorch fp32' in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ['s.ncnn.bin', 's.ncnn.json', 's.ncnn.param']
    picture = str(find_images([images])[0])
    assert main(['detect', str(out), picture, '--out-dir', str(tmp_path / 'found')]) == 0
    image = read_image(picture)
    about = json.loads(out.with_suffix('.json').read_text())['mbv1']
    network = ncnn.Net()  # as an application reads it
    network.load_param(str(out))
    network.load_model(str(out.with_suffix('.bin')))
    extractor = network.create_extractor()
    height, width = image.shape[:2]
    kind = ncnn.Mat.PixelType.PIXEL_RGB
    extractor.input('images', ncnn.Mat.from_pixels_resize(image, kind, width, height, *about['size'][::-1]))
    rows = np.array(extractor.extract('detections')[1])
    [found] = load(SSD, kind='detector').detect([image])
    assert len(found.above(0.5)) > 5
    assert [about['classes'][int(row[0]) - 1] for row in rows if row[1] > 0.5] == [
        about['classes'][label] for label in found.above(0.5).labels
    ]
    assert main(['export', SSD, *args, '--out', str(tmp_path / 's.param')]) == 2
    assert '--out must end in .ncnn.param for ncnn' in capsys.readouterr().err
