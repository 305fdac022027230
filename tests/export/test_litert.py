"""LiteRT files against the PyTorch models that they were made of, by the runtime itself."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tflite
import torch
from ai_edge_litert.interpreter import Interpreter
from mmengine.dataset import Compose
from support import embedders
from support.plain_graphs import (
    IMAGENET,
    classifier,
    patterns,
    small_ssd,
    ssd_spec,
    taps,
    two_stages,
)
from support.processes import check_other_processes
from support.project import ROOT

from mbv1_backbone import load
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.litert.detections import LITERT
from mbv1_backbone.export.litert.int8 import Statistics, in_int8
from mbv1_backbone.export.plans.networks import plan_of
from mbv1_backbone.export.plans.plan import POST_PROCESS
from mbv1_backbone.export.writers import MIN_CALIBRATION, write
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.exportable import embedder_spec, exportable, input_of
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.runtime.sessions import is_exported, open_session
from mbv1_backbone.training.exported import ExportedModel
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.tflite_graph import read_graph

SSD = 'ssd_mbv1_0.75_tf_bccd'
FACES = 'facenet_mbv1_0.25-112_color'
GOOGLES = 'ssd_mobilenet_v1_coco_quant.tflite'
KINDS = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}


def operators_of(path):
    """Kinds of operators, with versions, of the runtime's own schema reader."""
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return {code.CustomCode().decode() if code.CustomCode() else KINDS[code.BuiltinCode()] for code in codes}


@pytest.mark.parametrize('gray', [False, True])
def test_an_embedder_answers_as_the_pytorch_one(tmp_path, gray):
    model = embedders.build(gray=gray)
    graph = EmbedderGraph(model)
    images = patterns(8)
    right = graph(torch.from_numpy(images))[0].detach().numpy()
    for precision, least in (('fp32', 0.999999), ('fp16', 0.9), ('int8', -1)):  # a random one is sensitive
        path = tmp_path / f'{precision}.tflite'
        spec = embedder_spec(model, recipe_of(model, 'test'), precision)
        write(graph, spec, path, patterns(16, seed=1))
        session = open_session(path)
        assert (session.backend.split()[0], session.spec.fingerprint) == ('litert', spec.fingerprint)
        found = session.run(images)[0]
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert (found * right).sum(1).min() > least
    assert (tmp_path / 'int8.tflite').stat().st_size < 0.4 * (tmp_path / 'fp32.tflite').stat().st_size


@pytest.mark.parametrize(
    ('options', 'normalise'),
    [
        (dict(), IMAGENET),
        (dict(padding='same', act_cfg=dict(type='ReLU6')), dict()),
        (dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1)), dict(mean=(128.0,) * 3, std=(128.0,) * 3)),
        (dict(variant='full'), dict()),
    ],
)
def test_a_classifier_answers_as_the_pytorch_one(tmp_path, options, normalise):
    images = patterns(8)
    graph, spec = classifier('fp32', normalise, **options)
    right = graph(torch.from_numpy(images))[0].detach().numpy()
    write(graph, spec, tmp_path / 'c.tflite')
    found = load(tmp_path / 'c.tflite', kind='classifier').classify([*images])
    assert found.shape == (8, 10)  # the background is none of them
    np.testing.assert_allclose(found, right, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'least'),
    [('mobilenet_v1_0.25_128_quant.tflite', 0.97), ('mobilenet_v1_0.25_imagenet_leaky.safetensors', 0.6)],
)
def test_a_trained_classifier_loses_little_in_int8(tmp_path, shared, name, least):
    network = resolve(shared / 'weights' / name)
    graph, spec = exportable(network, 'int8')
    images = [input_of(read_image(p), spec) for p in find_images([str(shared / 'imagenet' / 'images')])[::10]]
    with torch.no_grad():
        right = graph(torch.from_numpy(np.stack(images[:12])))[0].numpy()
    write(graph, spec, tmp_path / 'c.tflite', images[12:])
    found = open_session(tmp_path / 'c.tflite').run(np.stack(images[:12]))[0]
    assert np.corrcoef(found.ravel(), right.ravel())[0, 1] > least


@pytest.mark.parametrize('gray', [False, True])
def test_a_trained_embedder_loses_little_in_int8(tmp_path, shared, gray):
    network = resolve(FACES)
    graph, spec = exportable(network, 'int8')
    graph.normalise.gray = gray
    images = [
        input_of(read_image(p), spec) for p in find_images([str(shared / 'lfw_color' / 'images')])[::300]
    ]
    images = np.stack(images)
    with torch.no_grad():
        right = graph(torch.from_numpy(images[:8]))[0].numpy()
    write(graph, spec, tmp_path / 'e.tflite', images[8:])
    found = open_session(tmp_path / 'e.tflite').run(images[:8])[0]
    assert (found * right).sum(1).mean() > 0.98


@pytest.mark.parametrize('input_type', ['uint8', 'int8'])
def test_a_backbones_taps_are_the_pytorch_ones(tmp_path, input_type):
    graph, spec = taps((1, 3), 'int8', normalise={}, act_cfg=dict(type='ReLU6'))
    images = patterns(4)
    write(graph, spec, tmp_path / 'b.tflite', patterns(16, seed=1), input_type)
    assert str(read_graph(tmp_path / 'b.tflite').image.dtype) == f"<class 'numpy.{input_type}'>"
    for found, right in zip(
        load(tmp_path / 'b.tflite', kind='backbone').features([*images]),
        graph(torch.from_numpy(images)),
        strict=True,
    ):
        assert found.shape == right.shape
        assert np.corrcoef(found.ravel(), right.detach().numpy().ravel())[0, 1] > 0.97


@pytest.mark.parametrize('background', [True, False])
def test_a_small_ssdlite_detects_as_the_pytorch_one(tmp_path, background):
    model = small_ssd(background=background)
    graph = detector_graph_of(model, (128, 128))
    images = patterns(4, 128)
    right = [o.detach().numpy() for o in graph(torch.from_numpy(images))]
    for precision, close in (('fp32', 1e-3), ('int8', 0.1)):
        path = tmp_path / f'{precision}.tflite'
        write(graph, ssd_spec(model, precision=precision), path, patterns(8, 128, seed=1))
        found = open_session(path).run(images)
        assert [o.shape for o in found] == [o.shape for o in right]
        assert found[2].dtype == np.int64
        np.testing.assert_allclose(found[1][:, 0], right[1][:, 0], atol=close)
        if precision == 'fp32':
            for boxes, labels, box, label in zip(found[0], found[2], right[0], right[2], strict=True):
                assert np.abs(boxes[labels == label[0]].clip(0, 128) - box[0]).max(1).min() < 0.1


@pytest.mark.parametrize('threads', [1, 2, 3, 5])
def test_no_class_is_lost_to_threads(tmp_path, threads):
    """LiteRT's own suppression passes over the class whose number is that of the threads."""
    model = small_ssd()
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model), tmp_path / 'd.tflite')
    images = patterns(2, 128)
    right = graph(torch.from_numpy(images))
    found = open_session(tmp_path / 'd.tflite', threads=threads).run(images)
    np.testing.assert_allclose(found[1][:, :5], right[1][:, :5].detach().numpy(), atol=1e-3)
    np.testing.assert_array_equal(found[2][:, :5], right[2][:, :5].numpy())


def test_the_int8_form_is_the_specifications(tmp_path):
    model = small_ssd()
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model, precision='int8'), tmp_path / 'd.tflite', patterns(8, 128))
    read = tflite.Model.GetRootAsModel((tmp_path / 'd.tflite').read_bytes(), 0)
    main_graph = read.Subgraphs(0)
    seen = set()
    for operator in (main_graph.Operators(i) for i in range(main_graph.OperatorsLength())):
        kind = KINDS[read.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
        given, made = (
            [main_graph.Tensors(i) for i in indices.tolist()]
            for indices in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
        )
        scales = [
            (t.Quantization().ScaleAsNumpy(), t.Quantization().ZeroPointAsNumpy())
            for t in given + made
            if t.Quantization() and t.Quantization().ScaleLength()
        ]
        seen.add(kind)
        if kind in ('CONV_2D', 'DEPTHWISE_CONV_2D'):
            (step_in, _), (step_weight, zero_weight), (step_bias, zero_bias), _ = scales
            out = made[0].ShapeAsNumpy()[-1]
            assert len(step_weight) == len(step_bias) == out
            assert given[1].Quantization().QuantizedDimension() == (0 if kind == 'CONV_2D' else 3)
            assert [t.Type() for t in given] == [tflite.TensorType.INT8] * 2 + [tflite.TensorType.INT32]
            assert not zero_weight.any()
            assert not zero_bias.any()
            np.testing.assert_allclose(step_bias, step_in * step_weight, rtol=1e-5)
            assert np.frombuffer(read.Buffers(given[1].Buffer()).DataAsNumpy(), np.int8).min() >= -127
        elif kind in ('CONCATENATION', 'RESHAPE', 'PAD') and scales:  # scores are padded in float32
            assert {(float(scale[0]), int(zero[0])) for scale, zero in scales} == {
                (float(scales[0][0][0]), int(scales[0][1][0]))
            }
        elif kind == 'LOGISTIC':
            assert not scales  # in float32
    assert {'CONV_2D', 'CONCATENATION', 'LOGISTIC', 'PAD', 'QUANTIZE'} <= seen
    constants = [main_graph.Tensors(i) for i in range(main_graph.TensorsLength())]
    assert all(
        t.ShapeAsNumpy()[0] == 1
        for t in constants
        if t.Type() == tflite.TensorType.INT8 and not read.Buffers(t.Buffer()).DataLength()
    )


def test_a_channel_that_is_dead_has_a_bias_that_fits(tmp_path):
    graph, spec = classifier('int8', act_cfg=dict(type='ReLU6'))
    with torch.no_grad():
        conv = graph.network[0].backbone.rows['3'].pointwise
        conv.conv.weight[0] = 0
        conv.conv.weight[1] *= 1e-12
        conv.bn.bias[:2] = 3.0
    images = patterns(8)
    right = graph(torch.from_numpy(images))[0].detach().numpy()
    write(graph, spec, tmp_path / 'c.tflite', patterns(16, seed=1))
    found = open_session(tmp_path / 'c.tflite').run(images)[0]
    assert np.corrcoef(found.ravel(), right.ravel())[0, 1] > 0.7


def test_rounding_weights_moves_no_mean():
    """The mean of a layer's outputs, with weights that all round down."""
    graph, spec = classifier(act_cfg=dict(type='ReLU6'), background=None)
    plan = plan_of(graph, spec.size, LITERT)
    name, bias = 'head.fc.weight', 'head.fc.bias'
    weight = np.full(plan.values[name].shape, 0.3 / 127 + 1e-6, np.float32)
    weight[..., 0] = 1.0
    plan.values[name] = replace(plan.values[name], data=weight)
    from mbv1_backbone.export.litert.calibration import statistics_on

    statistics = statistics_on(plan, patterns(8))
    plain, moved = (in_int8(plan, Statistics(statistics.ranges, means)) for means in ({}, statistics.means))
    shift = (moved.values[bias].data - plain.values[bias].data) * plain.values[bias].quantisation.scale
    expected = (weight - np.round(weight * 127) / 127).reshape(11, -1) @ statistics.means['pooled']
    np.testing.assert_allclose(shift, expected, atol=1e-3)
    assert np.abs(expected).min() > 0.05


def test_of_two_sure_detections_the_surer_one_is_first(tmp_path):
    model = small_ssd('ssd_mbv1_coco')
    logits = torch.tensor([7.0, 8.5, -9.0])
    with torch.no_grad():
        for predictor in model.bbox_head.cls_convs:
            predictor.weight.zero_()
            predictor.bias.unflatten(0, (-1, model.bbox_head.num_logits))[:, :3] = logits
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model, precision='int8'), tmp_path / 's.tflite', patterns(8, 128))
    _, scores, labels = open_session(tmp_path / 's.tflite').run(patterns(1, 128))
    assert labels[0, 0] == 1
    np.testing.assert_allclose(scores[0, 0], torch.sigmoid(logits[1]), atol=1e-4)


@pytest.mark.parametrize('lite', [False, True])
def test_what_was_written_is_read_back(tmp_path, lite):
    """A detector: float32 to the bit, int8 to half a step; and exported again it is the same file."""
    model = small_ssd('ssdlite_mbv1_coco' if lite else 'ssd_mbv1_coco')
    graph = detector_graph_of(model, (128, 128))
    for precision in ('fp32', 'fp16', 'int8'):
        write(graph, ssd_spec(model, precision=precision), tmp_path / f'{precision}.tflite', patterns(8, 128))
    exact = import_weights(tmp_path / 'fp32.tflite')
    assert (exact.kind, exact.classes, exact.recipe) == (
        'detector',
        ('a', 'b', 'c'),
        recipe_of(model, 'test'),
    )
    missing = model.load_state_dict(exact.state, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith('num_batches_tracked') for key in missing.missing_keys)
    images = torch.from_numpy(patterns(2, 128))
    for one, other in zip(detector_graph_of(model, (128, 128))(images), graph(images), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    write(detector_graph_of(model, (128, 128)), ssd_spec(model), tmp_path / 'again.tflite')
    again = import_weights(tmp_path / 'again.tflite')
    assert again.fingerprint == exact.fingerprint
    assert set(again.state) == set(exact.state)
    halves, rounded = (import_weights(tmp_path / f'{name}.tflite').state for name in ('fp16', 'int8'))
    check_rounded(exact.state, halves, rounded, 4)


def check_rounded(exact, halves, rounded, axes):
    """Weights of so many axes or more are those in float16, and in int8 half a step away at most."""
    weights = {key: values for key, values in exact.items() if key.endswith('weight') and values.ndim >= axes}
    assert weights
    for key, values in weights.items():
        assert torch.equal(halves[key], values.half().float()), key
        step = values.abs().amax(tuple(range(1, values.ndim)), keepdim=True) / 127
        loose = 1.0 if 'rows.0.' in key else 0.5  # whose steps are of weights for bytes
        assert ((rounded[key] - values).abs() <= loose * step * 1.01 + 1e-6).all(), key


def one_of(kind, precision):
    """A small network's graph and spec."""
    if kind == 'embedder':
        model = embedders.build(gray=True)
        return EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test'), precision)
    if kind == 'classifier':
        return classifier(precision)
    return taps((13,), precision, act_cfg=dict(type='ReLU6'))


@pytest.mark.parametrize('kind', ['classifier', 'backbone', 'embedder'])
def test_every_kind_is_read_back_in_every_precision(tmp_path, kind):
    """In fp32 and fp16 the network read back predicts what the file does; in int8 it has its weights."""
    images, states = patterns(3), {}
    for precision in ('fp32', 'fp16', 'int8'):
        path = tmp_path / f'{precision}.tflite'
        write(*one_of(kind, precision), path, patterns(8, seed=1))
        found = resolve(path)
        assert (found.kind, found.recipe.background) == (kind, None)
        states[precision] = import_weights(path).state
        if precision != 'int8':
            with torch.no_grad():
                again = exportable(found).graph(torch.from_numpy(images))
            for one, other in zip(again, open_session(path).run(images), strict=True):
                np.testing.assert_allclose(one.numpy(), other, atol=2e-4 * np.abs(other).max())
    assert states['fp16'].keys() == states['int8'].keys() == states['fp32'].keys()
    check_rounded(*(states[precision] for precision in ('fp32', 'fp16', 'int8')), 2)


def test_googles_ssd_written_anew_has_its_operators_and_answers(tmp_path, shared):
    source = shared / 'weights' / GOOGLES
    from mbv1_backbone.weights import write_weights

    write_weights(import_weights(source), tmp_path / 'g.safetensors')
    config = ROOT / 'configs' / 'detection' / 'ssd_mbv1_0.75_tf_coco.py'
    network = resolve(config, tmp_path / 'g.safetensors')
    images = find_images([str(shared / 'coco' / 'val2017')])[:MIN_CALIBRATION]
    spec = exportable(network).spec
    write(
        *exportable(network, 'int8'), tmp_path / 'g.tflite', [input_of(read_image(p), spec) for p in images]
    )
    assert operators_of(tmp_path / 'g.tflite') - operators_of(source) == {
        *('QUANTIZE', 'DEQUANTIZE'),  # of bytes to int8, and to what post-processing takes
        *('SLICE', 'PAD', 'SUB'),  # classes that never occur
    }
    assert operators_of(source) <= operators_of(tmp_path / 'g.tflite')
    theirs, ours = (Interpreter(str(path)) for path in (source, tmp_path / 'g.tflite'))
    for interpreter in (theirs, ours):
        interpreter.allocate_tensors()
    for one, other in zip(theirs.get_input_details(), ours.get_input_details(), strict=True):
        assert (one['dtype'], *one['shape']) == (other['dtype'], *other['shape'])
        assert one['quantization'] == other['quantization']
    pairs = [*zip(theirs.get_output_details(), ours.get_output_details(), strict=True)]
    assert all(one['dtype'] == other['dtype'] == np.float32 for one, other in pairs)
    image = input_of(read_image(images[0]), spec)[None]
    for interpreter in (theirs, ours):
        interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image)
        interpreter.invoke()
    boxes, scores = (
        [i.get_tensor(i.get_output_details()[k]['index'])[0, 0] for i in (theirs, ours)] for k in (0, 2)
    )
    np.testing.assert_allclose(boxes[0], boxes[1], atol=0.05)
    assert abs(scores[0] - scores[1]) < 0.1


def frigate(path, image):
    """Boxes, classes and scores as Frigate's plugins for TensorFlow Lite read them."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(inputs[0]['index'], image[None])
    interpreter.invoke()
    boxes, classes, scores = (interpreter.tensor(outputs[i]['index'])()[0] for i in range(3))
    count = int(interpreter.tensor(outputs[3]['index'])()[0])
    detections = np.zeros((20, 6), np.float32)
    for i in range(count):
        if scores[i] < 0.4 or i == 20:
            break
        detections[i] = [classes[i], float(scores[i]), *boxes[i]]
    return detections


def test_frigates_plugin_reads_the_file(tmp_path, shared):
    ssd = resolve(SSD)
    paths = find_images([str(shared / 'bccd' / 'JPEGImages')])[:10]
    spec = exportable(ssd).spec
    images = [input_of(read_image(path), spec) for path in paths]
    write(*exportable(ssd, 'int8'), tmp_path / 's.tflite', images[2:])
    with torch.no_grad():
        right = [o.numpy() for o in exportable(ssd).graph(torch.from_numpy(images[0][None]))]
    found = frigate(tmp_path / 's.tflite', images[0])
    kept = found[:, 1] > 0
    assert kept.sum() >= 5
    for label, score, y1, x1, y2, x2 in found[kept]:
        same = right[2][0] == label
        distance = np.abs(right[0][0] / 300 - [x1, y1, x2, y2]).max(1) + np.abs(right[1][0] - score) * 0.1
        assert distance[same].min() < 0.05
    exported = load(tmp_path / 's.tflite', kind='detector')
    assert exported.classes == ssd.classes
    assert exported.backend.startswith('litert')
    assert len(exported.detect(paths[:1])[0].above(0.4)) == pytest.approx(kept.sum(), abs=3)


def test_a_file_is_tested_and_makes_galleries_in_place_of_the_model(tmp_path, shared):
    ssd = resolve(SSD)
    write(*exportable(ssd), tmp_path / 's.tflite')
    exported = ExportedModel(open_session(tmp_path / 's.tflite'))
    steps = ssd.config.test_dataloader.dataset.pipeline
    pipeline = Compose([step for step in steps if step['type'] != 'LoadAnnotations'])
    paths = find_images([str(shared / 'bccd' / 'JPEGImages')])[:2]
    samples = [pipeline(dict(img_path=str(path), img_id=0)) for path in paths]
    data = dict(inputs=[s['inputs'] for s in samples], data_samples=[s['data_samples'] for s in samples])
    before = [sample.pred_instances for sample in ssd.model.test_step(data)]
    for one, sample in zip(before, exported.test_step(data), strict=True):
        count = int((one.scores > 0.3).sum())
        torch.testing.assert_close(
            sample.pred_instances.scores[:count], one.scores[:count], atol=1e-3, rtol=0
        )
        torch.testing.assert_close(sample.pred_instances.bboxes[:5], one.bboxes[:5], atol=2.0, rtol=0)
    model = embedders.build()
    write(EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test')), tmp_path / 'e.tflite')
    embedder = load(tmp_path / 'e.tflite', kind='embedder', finder=None)
    ours = FaceEmbedder.of_model(model, recipe_of(model, 'test'))
    with Gallery.create(tmp_path / 'g', ours.dims, ours.fingerprint, ours.preprocessing) as gallery:
        gallery.check_model(embedder.fingerprint, embedder.preprocessing)


def test_a_file_runs_in_a_forked_process_and_is_pickled(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.tflite')
    classify, _ = check_other_processes(tmp_path / 'c.tflite')
    assert classify.network.run(np.zeros((0, 64, 64, 3), np.uint8))[0].shape == (0, 10)


def test_two_stages_and_other_layers_are_refused_in_one_line(tmp_path):
    graph, spec = two_stages()
    with pytest.raises(InputError, match=r'no operator RoIAlign.*export it to onnx or openvino') as raised:
        write(graph, spec, tmp_path / 'f.tflite')
    assert '\n' not in str(raised.value)
    graph, spec = classifier(act_cfg=dict(type='GELU'))
    with pytest.raises(InputError, match='hold ReLU, ReLU6 and LeakyReLU, not GELU'):
        write(graph, spec, tmp_path / 'c.tflite')
    graph, spec = classifier(norm_cfg=dict(type='GN', num_groups=4))
    with pytest.raises(InputError, match=r'rows\.0\.bn: .* not GroupNorm'):
        write(graph, spec, tmp_path / 'c.tflite')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('images', 'complaint'),
    [
        ([], 'at least 8 images to calibrate on, got 0$'),
        (patterns(7), 'at least 8 images to calibrate on, got 7$'),
        ([*patterns(5), *np.full((9, 64, 64, 3), 7, np.uint8)], r'got 5, 9 more of one colour$'),
        ([*patterns(1)] * 64, 'got 1, 63 more that are copies$'),
    ],
)
@pytest.mark.parametrize('suffix', ['.tflite', '.onnx'])
def test_too_little_to_calibrate_on_is_refused(tmp_path, images, complaint, suffix):
    graph, spec = classifier('int8')
    with pytest.raises(InputError, match=complaint):
        write(graph, spec, tmp_path / f'c{suffix}', images)
    assert list(tmp_path.iterdir()) == []


def test_what_the_format_has_not_is_refused(tmp_path):
    for precision, suffix, options, complaint in (
        ('bf16', '.tflite', {}, r'\.tflite is written in fp32, fp16, int8; bf16 is for \.xml'),
        ('fp32', '.tflite', dict(input_type='int8'), r'given as int8 are for \.tflite in int8'),
        ('int8', '.onnx', dict(input_type='int8'), r'given as int8 are for \.tflite in int8'),
    ):
        graph, spec = classifier(precision)
        with pytest.raises(InputError, match=complaint):
            write(graph, spec, tmp_path / f'c{suffix}', patterns(8), **options)


def test_a_file_of_others_is_weights_and_one_of_ours_is_run(tmp_path, shared):
    theirs = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite'
    assert not is_exported(theirs)
    with pytest.raises(InputError, match='not a file of mbv1 export'):
        open_session(theirs)
    with pytest.raises(InputError, match=r'litert runs \.tflite files of mbv1 export'):
        load(theirs, backend='litert')
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.tflite')
    assert is_exported(tmp_path / 'c.tflite')
    for backend, complaint in (
        ('openvino', r'openvino reads \.onnx and \.xml files only'),
        ('torch', 'torch runs checkpoints'),
    ):
        with pytest.raises(InputError, match=complaint):
            load(tmp_path / 'c.tflite', backend=backend)


def test_a_damaged_file_is_refused_or_read_never_a_crash(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.tflite')
    content, generator = (tmp_path / 'c.tflite').read_bytes(), np.random.default_rng(0)
    for keep in (3, 40, len(content) // 2):
        (tmp_path / 'd.tflite').write_bytes(content[:keep])
        with pytest.raises(InputError):
            import_weights(tmp_path / 'd.tflite')
    for _ in range(40):
        damaged = bytearray(content)
        for place in generator.integers(8, len(content), 60):
            damaged[place] ^= int(generator.integers(1, 256))
        (tmp_path / 'd.tflite').write_bytes(damaged)
        assert is_exported(tmp_path / 'd.tflite') in (True, False)
        try:
            import_weights(tmp_path / 'd.tflite')
        except InputError as error:
            assert '\n' not in str(error)  # noqa: PT017


def test_the_verb_writes_compares_and_others_take_the_file(tmp_path, shared, capsys):
    images, out = str(shared / 'bccd' / 'JPEGImages'), tmp_path / 's.tflite'
    args = ['--to', 'litert', '--precision', 'int8', '--images', images, '--num', '8']
    assert main(['export', SSD, *args, '--out', str(out)]) == 0
    shown = capsys.readouterr().out
    assert float(re.search(r'same_boxes +([\d.]+)', shown)[1]) > 0.9
    assert 'litert' in shown
    picture = str(find_images([images])[0])
    assert main(['detect', str(out), picture, '--out-dir', str(tmp_path / 'found')]) == 0
    assert len(list((tmp_path / 'found').iterdir())) >= 1
    assert main(['export', SSD, *args, '--out', str(tmp_path / 's.onnx')]) == 2
    assert '--out must end in .tflite for litert' in capsys.readouterr().err


def test_the_post_processing_is_told_what_the_config_says():
    model = small_ssd()
    plan = plan_of(detector_graph_of(model, (128, 128)), (128, 128), LITERT)
    [options] = [operator.options for operator in plan.operators if operator.kind == POST_PROCESS]
    assert (options['max_detections'], options['use_regular_nms']) == (20, True)
    assert (options['nms_iou_threshold'], options['nms_score_threshold']) == (0.5, 0.3)
    assert [options[f'{side}_scale'] for side in 'xywh'] == pytest.approx([10, 10, 5, 5])
