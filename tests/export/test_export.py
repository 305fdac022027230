"""Exported files against the PyTorch models that they were made of."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from pycocotools.mask import decode
from support import embedders
from support.plain_graphs import patterns
from support.project import ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.suppression import multiclass_nms
from mbv1_backbone.export.writers import write
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.inference import parity
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.detector_parity import mask_overlaps, share_of_same
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.exportable import NotExportable, embedder_spec, exportable
from mbv1_backbone.inference.exported_detection import ExportedDetection
from mbv1_backbone.inference.fastest import keep_int8
from mbv1_backbone.inference.inputs import fit
from mbv1_backbone.inference.loading import load
from mbv1_backbone.inference.pytorch import MMDetDetection
from mbv1_backbone.inference.resolve import Trained, resolve
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.runtime import engines
from mbv1_backbone.runtime.onnxruntime import onnx_spec
from mbv1_backbone.runtime.sessions import Session, open_session
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training import load_config
from mbv1_backbone.training.checkpoint import Checkpoint
from mbv1_backbone.training.exported import ExportedModel

SSD = 'ssd_mbv1_0.75_tf_bccd'
FACES = 'facenet_mbv1_0.25-112_color'


def write_embedder(model, path, precision='fp32', calibration=()):
    spec = embedder_spec(model, recipe_of(model, 'test'), precision)
    write(EmbedderGraph(model), spec, path, calibration)


def embedder_of(model):
    return FaceEmbedder.of_model(model, recipe_of(model, 'test'))


@pytest.mark.parametrize('gray', [False, True])
@pytest.mark.parametrize(('name', 'backend'), [('e.onnx', 'onnxruntime'), ('e.xml', 'openvino')])
def test_an_embedder_answers_as_the_pytorch_one(tmp_path, gray, name, backend):
    model = embedders.build(gray=gray)
    ours = embedder_of(model)
    write_embedder(model, tmp_path / name)
    session = open_session(tmp_path / name, backend)
    assert (session.backend.split()[0], session.precision) == (backend, 'fp32')
    assert onnx_spec(tmp_path / name) == (session.spec if backend == 'onnxruntime' else None)
    exported = FaceEmbedder(session)
    assert (exported.fingerprint, exported.dims) == (ours.fingerprint, ours.dims)
    assert exported.preprocessing == ours.preprocessing
    for flip in (False, True):
        for batch in (1, 3, 8):  # batches of any size, a last one that is smaller too
            before, after = (e.embed([*patterns(8)], batch, flip).vectors for e in (ours, exported))
            np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-3)
            assert (before * after).sum(1).min() > 0.999999


@pytest.mark.parametrize(
    ('name', 'precision', 'least'),
    [('e.onnx', 'int8', 0.95), ('e.xml', 'fp16', 0.9999), ('e.xml', 'bf16', 0.99)],
)
def test_fewer_bits_change_a_trained_embedder_little(tmp_path, shared, name, precision, least):
    source, ours = resolve(FACES), FaceEmbedder.load(FACES)
    images = find_images([str(shared / 'lfw' / 'images')])[:24]
    calibration = [fit_square(read_image(path), ours.input_size) for path in images]
    write(*exportable(source, precision), tmp_path / name, calibration)
    exported = load(tmp_path / name, finder=None)
    assert (tmp_path / name).with_suffix('.bin' if name == 'e.xml' else '.onnx').stat().st_size < 0.7e6
    before, after = (e.embed(images).vectors for e in (ours, exported))
    assert (before * after).sum(1).mean() > least


def test_int8_of_onnx_runtime_does_not_saturate_without_vnni(tmp_path):
    """There a sum of two products of a byte and a signed byte has 16 bits: weights of 7 bits fit."""
    file = tmp_path / 'e.onnx'
    write(*exportable(resolve(FACES), 'int8'), file, patterns(8, size=112))
    graph = onnx.load(file).graph
    weights = [onnx.numpy_helper.to_array(each) for each in graph.initializer]
    weights = [each for each in weights if each.dtype == np.int8 and each.ndim == 4]
    assert len(weights) == 12  # the pointwise ones of rows 2 to 13
    assert {each.shape[2:] for each in weights} == {(1, 1)}
    assert 60 <= max(np.abs(each).max() for each in weights) <= 64


IN_AVX2 = """
import sys, numpy as np
from mbv1_backbone.runtime.sessions import open_session

session = open_session(sys.argv[1], threads=1)
np.save(sys.argv[3], session.run(np.load(sys.argv[2]))[0])
"""


@pytest.fixture(scope='module')
def faces(shared):
    """Crops, uint8 (N, 112, 112, 3)."""
    paths = find_images([str(shared / 'lfw' / 'images')])[::400]
    return np.stack([fit_square(read_image(path), 112) for path in paths])


@pytest.fixture(scope='module')
def int8_faces(faces, tmp_path_factory):
    """A trained embedder's file, calibrated on faces and an image of one colour, which says nothing."""
    file = tmp_path_factory.mktemp('int8') / 'e.xml'
    write(*exportable(resolve(FACES), 'int8'), file, [*faces[8:], np.full_like(faces[0], 9)])
    return file


def test_int8_of_openvino_is_right_without_vnni_too(tmp_path, faces, int8_faces):
    """In 8 bits of weights the processors of AVX2 saturate sums of two products."""
    images, file = faces, int8_faces
    session = open_session(file)
    assert str(session).endswith(', int8')
    here = session.run(images[:8])[0]
    assert (np.diff([len(session.run(images[:n])[0]) for n in (1, 3)]) == 2).all()
    np.save(tmp_path / 'images.npy', images[:8])
    names = [str(file), *(str(tmp_path / name) for name in ('images.npy', 'found.npy'))]
    env = dict(os.environ, ONEDNN_MAX_CPU_ISA='AVX2')
    done = subprocess.run([sys.executable, '-c', IN_AVX2, *names], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (here * np.load(tmp_path / 'found.npy')).sum(1).min() > 0.9999
    with torch.no_grad():
        right = exportable(resolve(FACES)).graph(torch.from_numpy(images[:8]))[0].numpy()
    assert (here * right).sum(1).min() > 0.98
    kinds = weights_of(file)
    assert {str(weight.dtype) for weight in kinds['GroupConvolution']} == {'float32'}
    in_8 = [weight for weight in kinds['Convolution'] if weight.dtype == np.int8]
    assert len(in_8) == 14
    assert max(np.abs(weight.astype(int)).max() for weight in in_8) <= 64


def test_int8_that_is_kept_is_a_candidate_where_the_model_is_named(int8_faces, tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path))
    monkeypatch.delenv('MBV1_MEASURE')
    keep_int8(int8_faces, open_session(int8_faces).spec)
    embedder = load(FACES, kind='embedder', finder=None, threads=1)
    [choice] = (json.loads(path.read_text()) for path in (tmp_path / 'fastest').glob('*.json'))
    assert {'openvino fp32', 'openvino int8', 'onnxruntime fp32'} <= set(choice['milliseconds'])
    assert choice['chosen'] == f'{embedder.backend.split()[0]} {embedder.network.precision}'
    monkeypatch.setenv('MBV1_MEASURE', '0')
    assert load(FACES, kind='embedder', finder=None, precision='fp32').network.precision == 'fp32'


def test_only_what_is_compared_in_accuracy_is_kept(tmp_path, capsys):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    options = ['--to', 'openvino', '--precision', 'int8', '--out', tmp_path / 'e.xml', '--images', tmp_path]
    assert main([str(argument) for argument in ('export', FACES, *options, '--keep')]) == 2
    assert '--keep is for whole networks by --to openvino --precision int8, with' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['a.png']


def weights_of(file):
    """What is stored of the weights of each kind of operator."""
    found = {}
    for node in engines.openvino_core().read_model(file).get_ops():
        if node.get_type_name() in ('Convolution', 'GroupConvolution', 'MatMul'):
            weight = node.input_value(1).get_node()
            while weight.get_type_name() != 'Constant':
                weight = weight.input_value(0).get_node()
            found.setdefault(node.get_type_name(), []).append(weight.get_data())
    return found


def test_openvino_does_not_run_int8_graphs_of_onnxruntime(tmp_path):
    write_embedder(embedders.build(), tmp_path / 'e.onnx', 'int8', patterns(8))
    assert open_session(tmp_path / 'e.onnx').backend.startswith('onnxruntime')
    with pytest.raises(InputError, match=r'e\.onnx: OpenVINO computes \.onnx in int8 wrongly: run it by'):
        open_session(tmp_path / 'e.onnx', 'openvino')


@pytest.mark.parametrize(
    ('images', 'complaint'),
    [
        ([], 'got 0$'),
        (patterns(7), 'got 7$'),
        ([np.full((64, 64, 3), n, np.uint8) for n in range(64)], 'got 0, 64 more of one colour$'),
    ],
)
def test_int8_of_openvino_says_what_calibration_lacks(tmp_path, images, complaint):
    with pytest.raises(InputError, match=f'int8 needs at least 8 images to calibrate on, {complaint}'):
        write_embedder(embedders.build(), tmp_path / 'e.xml', 'int8', images)
    assert list(tmp_path.iterdir()) == []


def test_int8_of_openvino_says_which_package_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'nncf', None)
    with pytest.raises(NotInstalledError, match=r"needs NNCF: pip install 'mbv1-backbone\[nncf\]'"):
        write_embedder(embedders.build(), tmp_path / 'e.xml', 'int8', patterns(8))
    assert list(tmp_path.iterdir()) == []


def test_a_gallery_takes_the_exported_model_for_the_one_it_was_made_of(tmp_path):
    model = embedders.build()
    ours = embedder_of(model)
    write_embedder(model, tmp_path / 'e.onnx')
    exported = load(tmp_path / 'e.onnx', finder=None)
    with Gallery.create(tmp_path / 'g', ours.dims, ours.fingerprint, ours.preprocessing) as gallery:
        gallery.check_model(exported.fingerprint, exported.preprocessing)
        hashes = [hashlib.sha256(bytes([i])).hexdigest() for i in range(4)]
        gallery.add(ours.embed([*patterns(4)]).vectors, list('abcd'), list('abcd'), hashes)
        found = gallery.search(exported.embed([*patterns(4)]).vectors, 1)
        assert [row[0].identity for row in found] == list('abcd')


@pytest.fixture(scope='module')
def ssd():
    return resolve(SSD)


@pytest.mark.parametrize('name', ['s.onnx', 's.xml'])
def test_a_detector_answers_as_the_pytorch_one(tmp_path, ssd, shared, name):
    detector = Detector(MMDetDetection(ssd))
    write(*exportable(ssd), tmp_path / name)
    exported = load(tmp_path / name)
    assert isinstance(exported.network, ExportedDetection)
    assert exported.classes == detector.classes
    images = find_images([str(shared / 'bccd' / 'JPEGImages')])[:6]
    same = both = 0
    for before, after in zip(detector.detect(images), exported.detect(images, batch_size=4), strict=True):
        found = share_of_same(before, after, 0.3, 0.9)
        same, both = same + found[0], both + found[1]
    assert both > 50
    assert same > 0.97 * both


def test_an_exported_model_is_tested_in_place_of_the_model(tmp_path, ssd, shared):
    cfg = ssd.config
    write(*exportable(ssd), tmp_path / 's.onnx')
    exported = ExportedModel(open_session(tmp_path / 's.onnx', 'onnxruntime'))
    pipeline = Compose([s for s in cfg.test_dataloader.dataset.pipeline if s['type'] != 'LoadAnnotations'])
    paths = find_images([str(shared / 'bccd' / 'JPEGImages')])[:2]
    samples = [pipeline(dict(img_path=str(path), img_id=0)) for path in paths]
    data = dict(inputs=[s['inputs'] for s in samples], data_samples=[s['data_samples'] for s in samples])
    before = [sample.pred_instances for sample in ssd.model.test_step(data)]
    after = [sample.pred_instances for sample in exported.test_step(data)]
    for one, other in zip(before, after, strict=True):
        best = one.scores > 0.3
        count = int(best.sum())
        assert count > 5
        torch.testing.assert_close(other.bboxes[:count], one.bboxes[best], atol=0.05, rtol=0)
        torch.testing.assert_close(other.scores[:count], one.scores[best], atol=1e-3, rtol=0)


def test_letterboxed_images_lie_at_the_top_left_and_boxes_come_back(ssd):
    spec = replace(exportable(ssd).spec, keep_ratio=True, size=(100, 200))
    image = np.full((50, 40, 3), 7, np.uint8)
    whole, scale = fit(image, spec)
    assert whole.shape == (100, 200, 3)
    assert scale == (2.0, 2.0)
    assert (whole[:, :80] == 7).all()
    assert (whole[:, 80:] == 128).all()


def slow_best(boxes, scores, iou_threshold, score_thr, most):
    """One image, by loops."""
    left = []
    for label in range(scores.shape[1]):
        kept = []
        for anchor in np.argsort(-scores[:, label], kind='stable'):
            if scores[anchor, label] <= score_thr:
                continue
            a = boxes[anchor]
            overlaps = []
            for other in kept:
                b = boxes[other]
                w, h = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
                area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
                overlaps.append(w * h / area)
            if all(overlap <= iou_threshold for overlap in overlaps):
                kept.append(anchor)
        left += [(scores[anchor, label], label, anchor) for anchor in kept]
    return sorted(left, reverse=True)[:most]


def test_suppression_is_the_slow_loops():
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 50, (2, 40, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(5, 30, (2, 40, 2))], 2).astype(np.float32)
    scores = generator.uniform(0, 1, (2, 40, 3)).astype(np.float32)
    found = multiclass_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.3, 0.4, 25)
    for image in range(2):
        right = slow_best(boxes[image], scores[image], 0.4, 0.3, 25)
        kept = found[0][image] > 0
        for values, right_values in zip(found, zip(*right, strict=True), strict=True):
            np.testing.assert_array_equal(values[image][kept], right_values)


def test_boxes_that_both_find_are_counted_once_each():
    def some(*rows):
        values = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))

    one = some([0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 0])
    assert share_of_same(one, one, 0.3, 0.9) == (4, 4)
    assert share_of_same(one, some([0, 0, 10, 10, 0.9, 0]), 0.3, 0.9) == (0, 3)  # another label
    assert share_of_same(one, some(), 0.3, 0.9) == (0, 2)
    twice = some([0, 0, 10, 10, 0.9, 1], [0, 0, 10, 10, 0.8, 1])
    assert share_of_same(some([0, 0, 10, 10, 0.9, 1]), twice, 0.3, 0.9) == (2, 3)


def test_what_cannot_be_opened_or_written_is_one_line(tmp_path, ssd):
    model = embedders.build()
    graph, spec = EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test'), 'bf16')
    with pytest.raises(InputError, match=r'\.onnx is written in fp32, int8; bf16 is for \.xml'):
        write(graph, spec, tmp_path / 'e.onnx')
    with pytest.raises(InputError, match=r'\.xml, \.tflite, \.param, \.mlpackage, \.pt2, \.pte, got'):
        write(graph, spec, tmp_path / 'e.pb')
    with pytest.raises(InputError, match='int8 needs at least 8 images to calibrate on, got 0'):
        write_embedder(model, tmp_path / 'e.onnx', 'int8')
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'x.onnx').write_text('no')
    (tmp_path / 'x.xml').write_text('no')
    for path, backend, complaint in (
        ('x.onnx', 'onnxruntime', 'not a readable ONNX file'),
        ('x.onnx', 'auto', 'OpenVINO cannot read it: Unable to read the model'),
        ('x.xml', 'auto', 'OpenVINO cannot read it: Unable to read the model'),
        ('x.xml', 'onnxruntime', r'reads \.onnx files only'),
        ('y.onnx', 'auto', 'no such file'),
        ('x.onnx', 'tensorrt', 'backend must be one of'),
    ):
        with pytest.raises(InputError, match=complaint):
            open_session(tmp_path / path, backend)
    write_embedder(model, tmp_path / 'e.onnx')
    with pytest.raises(InputError, match='not a detector, but an embedder'):
        load(tmp_path / 'e.onnx', kind='detector')
    model = onnx.load(tmp_path / 'e.onnx')
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'e.onnx')
    for backend in ('onnxruntime', 'openvino'):
        with pytest.raises(InputError, match=r'not a file of mbv1 export'):
            open_session(tmp_path / 'e.onnx', backend)


@pytest.mark.parametrize(
    'name',
    [
        *('faster_rcnn_mbv1_300_coco', 'faster_rcnn_mbv1_fpn_coco', 'ssdlite_mbv1_coco'),
        'mask_rcnn_mbv1_fpn_pennfudan',
    ],
)
def test_every_kind_of_detector_answers_as_the_pytorch_one(tmp_path, shared, name):
    """Random weights, and thresholds so low that there is something to compare."""
    torch.manual_seed(0)
    cfg = load_config(str(ROOT / 'configs' / 'detection' / f'{name}.py'))
    cfg.model.test_cfg.get('rcnn', cfg.model.test_cfg).score_thr = 1e-6
    if 'fpn' in name:
        cfg.test_dataloader.dataset.pipeline[1].scale = (200, 150)  # padded to 224 x 160 inside
    init_default_scope('mmdet')
    model = MODELS.build(dict(cfg.model, _scope_='mmdet'))
    model.init_weights()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if ('cls' in key or 'reg' in key) and weight.ndim > 1:
                weight.normal_(0, 0.02)
            if 'mask_head' in key:
                weight.normal_(0, 0.1)
    found = Trained('random', 'detector', Checkpoint(tmp_path, model.state_dict(), {}), cfg)
    ours = Detector(MMDetDetection(found))
    write(*exportable(found), tmp_path / 'd.onnx')
    exported = Detector.of_network(open_session(tmp_path / 'd.onnx', 'onnxruntime'))
    images = find_images([str(shared / 'coco' / 'val2017')])[:2]
    for before, after in zip(ours.detect(images), exported.detect(images), strict=True):
        assert len(before) == len(after) == cfg.model.test_cfg.get('rcnn', cfg.model.test_cfg).max_per_img
        np.testing.assert_allclose(after.scores[:20], before.scores[:20], atol=1e-5)
        same, both = share_of_same(before, after, float(before.scores[20]), 0.9)
        assert same >= 0.9 * both
        assert (before.masks is None) == (after.masks is None) == ('mask' not in name)
        if before.masks is not None:
            overlaps = mask_overlaps(before, after, float(before.scores[20]), 0.9)
            assert len(overlaps) >= 15
            assert np.median(overlaps) > 0.95
            assert 0.2 < np.mean([part.mean() for part in after.masks.parts]) < 0.8
            compare_of_results(exported, after)


def compare_of_results(detector, found):
    """Masks are in COCO's results, and there are as many as boxes above a threshold."""
    best = found.above(float(found.scores[4]))
    results = detector.to_coco(best, 1, 'a.jpg')
    assert len(results) == len(best.masks) < len(found)
    for result, mask in zip(results, best.masks, strict=True):
        np.testing.assert_array_equal(decode(result['segmentation']), mask)


def test_what_is_no_detector_with_anchors_is_refused_in_one_line(ssd):
    with pytest.raises(ValueError, match='Linear is not a detector with anchors, of one stage or two'):
        detector_graph_of(torch.nn.Linear(1, 1), (10, 10))
    nms = ssd.model.bbox_head.test_cfg.nms
    kind, nms.type = nms.type, 'soft_nms'
    try:
        with pytest.raises(NotExportable, match=r"test_cfg\.nms must be of type 'nms', got 'soft_nms'"):
            exportable(ssd)
    finally:
        nms.type = kind


def test_a_spec_tells_a_detector_from_one_of_the_same_weights_and_other_thresholds(ssd):
    spec, cfg = exportable(ssd).spec, ssd.config.model.test_cfg
    usual, cfg.score_thr = cfg.score_thr, 0.5
    try:
        other = exportable(ssd).spec
    finally:
        cfg.score_thr = usual
    assert other.settings != spec.settings
    assert 'input_size' not in spec.recipe  # which spec.size says
    assert replace(other, settings=spec.settings) == spec == exportable(ssd).spec


def test_an_export_is_in_its_place_only_once_it_has_been_compared(tmp_path, shared, monkeypatch, capsys):
    config = str(ROOT / 'configs' / 'detection' / f'{SSD}.py')
    out = tmp_path / 's.xml'
    images = str(shared / 'bccd' / 'JPEGImages')
    args = ['--to', 'openvino', '--out', str(out), '--images', images, '--num', '3']
    assert main(['export', config, SSD, *args]) == 0
    assert 'same_boxes           1' in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ['s.bin', 's.xml']
    good = out.read_bytes()
    monkeypatch.setitem(parity.MIN_SAME, 'fp32', 1.1)
    assert main(['export', config, SSD, *args]) == 2
    assert 'is out of tolerance and was not written: same_boxes is' in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['s.bin', 's.xml']
    assert out.read_bytes() == good
    assert main(['export', config, SSD, *args[:3], 'x.onnx', *args[4:]]) == 2
    assert '--out must end in .xml for openvino' in capsys.readouterr().err


def test_an_export_leaves_the_programs_random_numbers_alone(tmp_path):
    model = embedders.build()
    before = torch.get_rng_state()
    write_embedder(model, tmp_path / 'a.onnx')
    assert torch.equal(torch.get_rng_state(), before)


def test_a_backbone_is_not_tested_in_place_of_a_model(tmp_path):
    spec = ModelSpec(kind='backbone', size=(8, 8), precision='fp32', fingerprint='', recipe={})
    session = Session(tmp_path / 'c.onnx', spec, 'none', 'fp32', lambda images: ())
    with pytest.raises(InputError, match=r'c\.onnx: not a whole network, but a backbone'):
        ExportedModel(session)
