"""Core ML packages against the PyTorch models that they were made of.

Core ML itself runs on Apple's systems alone: here an interpreter computes what a saved package says.
"""

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import embedders
from support.plain_graphs import IMAGENET, classifier, patterns, small_ssd, ssd_spec, taps, two_stages

from mbv1_backbone import load
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import DamagedFileError, InputError, NoSpaceError
from mbv1_backbone.common.images import find_images
from mbv1_backbone.export.coreml.stored import compare_stored
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import embedder_spec
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.runtime import coreml, sessions
from mbv1_backbone.runtime.sessions import is_exported, open_session
from mbv1_backbone.runtime.spec import ModelSpec

if find_spec('coremltools') is None:
    pytest.skip('coremltools is not installed', allow_module_level=True)

from support import mil

SSD = 'ssd_mbv1_0.75_tf_bccd'
SIDES = (8, 4, 2, 1, 1, 1)  # of the maps of an SSD for 128 pixels


@pytest.fixture
def on_apple(monkeypatch):
    """A system that has Core ML: the interpreter in place of Apple's."""

    class Interpreted:
        def __init__(self, path):
            self.path = sessions.Path(path)
            self.spec, _, self.stage = mil.read(self.path)
            self.user_defined_metadata = self.spec.description.metadata.userDefined

        def get_spec(self):
            return self.spec

        def predict(self, inputs):
            [(name, image)] = inputs.items()
            assert (name, image.mode) == ('image', 'RGB')
            found = mil.run(self.path, np.asarray(image))
            if self.stage is None:
                return {
                    name: value.numpy() if torch.is_tensor(value) else value for name, value in found.items()
                }
            stage = self.stage.nonMaximumSuppression
            raw = (found[stage.confidenceInputFeatureName], found[stage.coordinatesInputFeatureName])
            scores, boxes = mil.suppressed(*(each.numpy() for each in raw), stage)
            return {stage.confidenceOutputFeatureName: scores, stage.coordinatesOutputFeatureName: boxes}

    tools = SimpleNamespace(models=SimpleNamespace(MLModel=Interpreted), __version__='9.0')
    monkeypatch.setattr(coreml, 'coremltools', lambda: tools)
    monkeypatch.setattr(coreml, 'runs_coreml', lambda: True)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A classifier's graph, spec and package, which others copy."""
    graph, spec = classifier()
    path = tmp_path_factory.mktemp('written') / 'c.mlpackage'
    write(graph, spec, path)
    return graph, spec, path


@pytest.fixture(
    scope='module', params=[('ssdlite_mbv1_coco', True, 'fp32'), ('ssd_mbv1_coco', False, 'fp16')]
)
def ssd(request, tmp_path_factory):
    """A detector's graph, spec and package."""
    name, background, precision = request.param
    model = small_ssd(name, background=background)
    graph, spec = detector_graph_of(model, (128, 128)), ssd_spec(model, precision=precision)
    path = tmp_path_factory.mktemp('ssd') / 's.mlpackage'
    write(graph, spec, path)
    return graph, spec, path


@pytest.mark.parametrize(('gray', 'precision', 'least'), [(False, 'fp32', 0.999999), (True, 'fp16', 0.9)])
def test_an_embedder_answers_as_the_pytorch_one(tmp_path, gray, precision, least):
    model = embedders.build(gray=gray)
    graph, images, path = EmbedderGraph(model), patterns(3), tmp_path / 'e.mlpackage'
    right = graph(torch.from_numpy(images))[0].detach().numpy()
    write(graph, embedder_spec(model, recipe_of(model, 'test'), precision), path)
    found = np.concatenate([mil.run(path, image)['embeddings'] for image in images])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=2e-3)
    assert (found * right).sum(1).min() > least  # a random one is sensitive to rounding
    weights = sum(parameter.numel() for parameter in model.parameters())
    size = sum(file.stat().st_size for file in sessions.files_of(path))
    assert size < (4 if precision == 'fp32' else 2) * weights + 80_000


@pytest.mark.parametrize(
    ('options', 'normalise'),
    [
        (dict(padding='same', act_cfg=dict(type='ReLU6')), dict(mean=(127.5,) * 3, std=(127.5,) * 3)),
        (dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1)), IMAGENET),
    ],
)
def test_a_classifier_answers_as_the_pytorch_one(tmp_path, on_apple, options, normalise):
    graph, spec = classifier(normalise=normalise, **options)
    write(graph, spec, tmp_path / 'c.mlpackage')
    network, images = open_session(tmp_path / 'c.mlpackage'), patterns(3)
    assert (network.backend.split()[0], network.precision) == ('coreml', 'fp32')
    [right] = graph(torch.from_numpy(images))
    np.testing.assert_allclose(network.run(images)[0], right.detach().numpy(), atol=1e-4)
    assert network.run(images[:0])[0].shape == (0, 10)


def test_a_package_says_what_it_is(tmp_path, on_apple):
    graph, spec = classifier(precision='fp16')
    names = ('crane', 'owl', 'crane', *'defghij')  # as two of ImageNet's are called
    write(graph, replace(spec, classes=names, licence='MIT'), tmp_path / 'c.mlpackage')
    package, _, _ = mil.read(tmp_path / 'c.mlpackage')
    about = package.description
    [image] = about.input
    assert (image.name, image.type.imageType.width, image.type.imageType.height) == ('image', 64, 64)
    assert image.type.imageType.ColorSpace.Name(image.type.imageType.colorSpace) == 'RGB'
    assert (about.predictedFeatureName, about.predictedProbabilitiesName) == (
        'classLabel',
        'classLabel_probs',
    )
    assert package.specificationVersion == 6  # iOS 15
    assert about.metadata.shortDescription == 'MobileNetV1 classifier, 64 x 64 pixels, 10 classes, fp16'
    assert (about.metadata.author, about.metadata.license) == ('mbv1-backbone', 'MIT')
    assert ModelSpec.from_text(about.metadata.userDefined['mbv1'], tmp_path).classes == names
    found = mil.run(tmp_path / 'c.mlpackage', patterns(1)[0])
    assert list(found['classLabel_probs'])[:3] == ['crane (0)', 'owl', 'crane (2)']
    [right] = graph(torch.from_numpy(patterns(1)))
    answer = load(tmp_path / 'c.mlpackage', kind='classifier')
    assert answer.classes == names
    np.testing.assert_allclose(answer.classify([*patterns(1)]), right.detach().numpy(), atol=0.05)
    best = int(right.argmax())
    assert found['classLabel'] == (f'crane ({best})' if names[best] == 'crane' else names[best])


def test_taps_in_the_middle_are_outputs_too(tmp_path, on_apple):
    graph, spec = taps()
    write(graph, spec, tmp_path / 'b.mlpackage')
    images = patterns(2)
    found = open_session(tmp_path / 'b.mlpackage').run(images)
    for right, map_ in zip(graph(torch.from_numpy(images)), found, strict=True):
        np.testing.assert_allclose(map_, right.detach().numpy(), atol=2e-4)
    package, _, _ = mil.read(tmp_path / 'b.mlpackage')
    assert [output.name for output in package.description.output] == ['row_5', 'row_11', 'row_13']


def test_a_small_ssd_detects_as_the_pytorch_one(ssd, on_apple):
    graph, spec, path = ssd
    images = patterns(2, 128)
    with torch.no_grad():
        right = [output.numpy() for output in graph(torch.from_numpy(images))]
    found = open_session(path).run(images)
    assert [output.shape for output in found] == [output.shape for output in right]
    assert found[2].dtype == np.int64
    close = 1e-3 if spec.precision == 'fp32' else 0.02
    np.testing.assert_allclose(found[1][:, 0], right[1][:, 0], atol=close)
    for boxes, labels, box, label in zip(found[0], found[2], right[0], right[2], strict=True):
        assert np.abs(boxes[labels == label[0]] - box[0]).max(1).min() < 100 * close


def test_the_suppression_is_the_one_that_vision_knows(ssd):
    graph, _, path = ssd
    package, network, second = mil.read(path)
    about, stage = package.description, second.nonMaximumSuppression
    assert package.WhichOneof('Type') == 'pipeline'
    assert [(each.name, each.type.WhichOneof('Type'), each.type.isOptional) for each in about.input] == [
        ('image', 'imageType', False),
        ('iouThreshold', 'doubleType', True),
        ('confidenceThreshold', 'doubleType', True),
    ]
    assert [each.name for each in about.output] == ['confidence', 'coordinates']
    ranges = [each.type.multiArrayType.shapeRange.sizeRanges for each in about.output]
    assert [[side.upperBound for side in each] for each in ranges] == [[-1, 3], [-1, 4]]
    raw = [stage.confidenceInputFeatureName, stage.coordinatesInputFeatureName]
    assert [each.name for each in network.description.output] == raw
    anchors = sum(
        graph.model.bbox_head.prior_generator.num_base_priors[i] * side**2 for i, side in enumerate(SIDES)
    )
    shapes = [[*each.type.multiArrayType.shape] for each in second.description.input[:2]]
    assert shapes == [[anchors, 3], [anchors, 4]]
    assert [*stage.stringClassLabels.vector] == ['a', 'b', 'c']
    assert (stage.iouThreshold, stage.confidenceThreshold, stage.pickTop.perClass) == (0.5, 0.3, True)
    assert json.loads(about.metadata.userDefined['mbv1'])['classes'] == ['a', 'b', 'c']


def test_a_pipeline_holds_its_network_once(ssd):
    _, _, path = ssd
    files = [str(file.relative_to(path)) for file in sessions.files_of(path)]
    inside = 'Data/com.apple.CoreML'
    assert files == ['Manifest.json', f'{inside}/model.mlmodel', f'{inside}/weights/weight.bin']
    _, network, second = mil.read(path)
    for one, other in zip(network.description.output, second.description.input[:2], strict=True):
        assert (one.name, one.type) == (other.name, other.type)


def test_every_stored_weight_is_compared(tmp_path, written):
    graph, spec, path = written
    path = shutil.copytree(path, tmp_path / 'c.mlpackage')
    parity = compare_stored(graph, spec, path)
    assert parity.failures == []
    assert (parity.figures['layers'], parity.figures['largest_difference']) == (28, 0)
    blob = path / 'Data' / 'com.apple.CoreML' / 'weights' / 'weight.bin'
    content = bytearray(blob.read_bytes())
    content[-1024] ^= 0x40  # of the last layer's weights
    blob.write_bytes(content)
    assert any('head_fc.weight differs by' in line for line in compare_stored(graph, spec, path).failures)
    [failure] = compare_stored(*taps((11,)), path).failures
    assert failure.startswith('layers are not those of the network: backbone_rows_12')
    blob.write_bytes(content[:200])
    with pytest.raises(DamagedFileError, match='damaged Core ML package'):
        compare_stored(graph, spec, path)


def test_weights_are_rounded_once_and_no_more_than_said(ssd):
    graph, spec, path = ssd
    parity = compare_stored(graph, spec, path)
    assert parity.failures == []
    assert (parity.figures['largest_difference'] > 0) == (spec.precision == 'fp16')
    exact = compare_stored(graph, replace(spec, precision='fp32'), path).failures
    assert bool(exact) == (spec.precision == 'fp16')


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path):
    graph, spec = two_stages()
    with pytest.raises(InputError, match=r'Core ML.*no operator RoIAlign.*it to onnx or openvino') as raised:
        write(graph, spec, tmp_path / 'f.mlpackage')
    assert '\n' not in str(raised.value)
    graph, spec = classifier(precision='int8')
    with pytest.raises(
        InputError, match=r'\.mlpackage is written in fp32, fp16; int8 is for \.onnx, \.xml, \.tflite'
    ):
        write(graph, spec, tmp_path / 'c.mlpackage')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('error', 'complaint'),
    [
        (
            shutil.Error([('a', 'b', "[Errno 28] No space left on device: 'a' -> 'b'")]),
            'no space left on the',
        ),
        (RuntimeError('[MIL FileWriter]: Unknown error occurred'), 'cannot write weights to .*: no space'),
    ],
)  # what coremltools 9 raises where the disk of the file, or of temporary files, is full
def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch, error, complaint):
    def convert(*args):
        raise error

    monkeypatch.setattr('mbv1_backbone.export.coreml.writer._converted', convert)
    with pytest.raises(NoSpaceError, match=rf'c\.mlpackage: .*{complaint}'):
        write(*classifier(), tmp_path / 'c.mlpackage')
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_not_run_where_core_ml_is_not(tmp_path, written):
    graph, spec, path = written
    shutil.copytree(path, tmp_path / 'c.mlpackage')
    (tmp_path / 'c.mlpackage' / 'former').touch()
    write(graph, spec, tmp_path / 'c.mlpackage')  # in place of what is there
    assert [path.name for path in tmp_path.iterdir()] == ['c.mlpackage']
    assert not (tmp_path / 'c.mlpackage' / 'former').exists()
    assert (tmp_path / 'c.mlpackage').stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777 | 0o055
    assert is_exported(tmp_path / 'c.mlpackage')
    if not coreml.runs_coreml():
        with pytest.raises(InputError, match=r'c\.mlpackage: Core ML runs on macOS and iOS alone'):
            load(tmp_path / 'c.mlpackage')
    with pytest.raises(InputError, match=r'ncnn reads \.param files only'):
        open_session(tmp_path / 'c.mlpackage', backend='ncnn')
    with pytest.raises(InputError, match=r'd\.mlpackage: no such file'):
        open_session(tmp_path / 'd.mlpackage')


def test_verbs_say_at_once_where_a_package_runs(tmp_path, written, capsys, run):
    path = str(shutil.copytree(written[2], tmp_path / 'c.mlpackage'))
    assert main(['test', path]) == 2
    assert (
        'c.mlpackage: not a config; an exported file and weights stand after their' in capsys.readouterr().err
    )
    if coreml.runs_coreml():
        return
    said = 'Core ML runs on macOS and iOS alone; here run files of --to onnx, openvino, litert, ncnn, '
    assert main(['test', SSD, path]) == 2
    assert said in capsys.readouterr().err
    args = ['detect', path, 'a.jpg', '--out-dir', str(tmp_path / 'found')]
    code = f'import sys; from mbv1_backbone.cli.main import main; print(main({args!r}), "cv2" in sys.modules)'
    done = run('-c', code)
    assert done.stdout.split() == ['2', 'False']  # before what takes long
    assert said in done.stderr


def test_the_verb_writes_and_says_that_nothing_was_run(tmp_path, shared, capsys, request):
    images, out = str(shared / 'bccd' / 'JPEGImages'), tmp_path / 's.mlpackage'
    args = ['export', SSD, '--to', 'coreml', '--precision', 'fp16', '--images', images, '--num', '2']
    (tmp_path / 'full.mlpackage').mkdir()
    assert main([*args, '--out', str(tmp_path / 'full.mlpackage')]) == 2
    assert 'is a folder, not a file' in capsys.readouterr().err
    (tmp_path / 'full.mlpackage').rmdir()
    if not coreml.runs_coreml():
        assert main([*args, '--out', str(out), '--ann-file', 'x.json']) == 2
        assert 'here no accuracy can be compared' in capsys.readouterr().err
    assert main([*args, '--out', str(out)]) == 0
    shown = capsys.readouterr().out
    if not coreml.runs_coreml():
        assert 'NOT RUN HERE' in shown
        assert int(re.search(r'layers +(\d+)', shown)[1]) == 47  # 27, 8 more, and 12 that predict
        assert int(re.search(r'weights +(\d+)\n', shown)[1]) > 3_000_000
        assert 'one rounding to float16 (2^-11 of the value)' in shown
    assert [path.name for path in tmp_path.iterdir()] == ['s.mlpackage']
    request.getfixturevalue('on_apple')
    assert main([*args, '--out', str(out)]) == 0  # run, by the interpreter, and compared with PyTorch
    assert 'same_boxes' in (shown := capsys.readouterr().out)
    assert 'NOT RUN' not in shown
    picture = str(find_images([images])[0])
    assert main(['detect', str(out), picture, '--out-dir', str(tmp_path / 'found')]) == 0
