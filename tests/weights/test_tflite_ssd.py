"""Google's released SSD in our own SSD."""

import cv2
import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from support.project import ROOT

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.detector_parity import compare_with_tflite
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.weights import import_weights, write_weights
from mbv1_backbone.weights.tflite_graph import read_graph
from mbv1_backbone.weights.tflite_ssd import read_ssd

CONFIG = ROOT / 'configs' / 'detection' / 'ssd_mbv1_0.75_tf_coco.py'


@pytest.fixture(scope='module')
def source(shared):
    return shared / 'weights' / 'ssd_mobilenet_v1_coco_quant.tflite'


@pytest.fixture(scope='module')
def imported(source, tmp_path_factory):
    path = tmp_path_factory.mktemp('ssd') / 'ssd.safetensors'
    write_weights(import_weights(source), path)
    return path


@pytest.fixture(scope='module')
def ours(imported):
    return Detector.load(CONFIG, imported)


def test_raw_scores_and_boxes_are_the_runtimes_own(source, imported, shared):
    """Every anchor's 80 scores and four box values, before any suppression."""
    interpreter = Interpreter(str(source), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    image = cv2.resize(read_image(shared / 'coco' / 'val2017' / '000000000872.jpg'), (300, 300))
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image[None])
    interpreter.invoke()

    def tensor(name):
        details = next(d for d in interpreter.get_tensor_details() if d['name'] == name)
        scale, zero_point = details['quantization']
        return (interpreter.get_tensor(details['index'])[0].astype(np.float64) - zero_point) * scale

    scores, boxes = tensor('convert_scores')[:, list(COCO_CATEGORY_IDS)], tensor('Squeeze')[:, [1, 0, 3, 2]]
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
    model = resolve(CONFIG, imported).model
    prepared = model.data_preprocessor(dict(inputs=[bgr], data_samples=None))['inputs']
    logits, deltas = model.bbox_head(model.extract_feat(prepared))
    head = model.bbox_head

    def flat(maps, values):
        return np.concatenate([m.detach().permute(0, 2, 3, 1).reshape(-1, values).numpy() for m in maps])

    our_scores = 1 / (1 + np.exp(-flat(logits, head.num_logits)[:, :80]))
    assert our_scores.shape == scores.shape == (1917, 80)
    assert np.corrcoef(our_scores.ravel(), scores.ravel())[0, 1] > 0.98
    assert np.abs(our_scores - scores).max() < 0.15
    for axis in range(4):
        assert np.corrcoef(flat(deltas, 4)[:, axis], boxes[:, axis])[0, 1] > 0.97


@pytest.mark.slow
def test_its_average_precision_is_the_runtimes_own_or_better(source, ours, shared):
    coco = shared / 'coco'
    theirs, capped, full = compare_with_tflite(
        source, ours, coco / 'val2017', str(coco / 'annotations' / 'instances_val2017.json')
    )
    print(theirs, capped, full)
    assert theirs.ap > 0.2
    assert capped.ap >= theirs.ap - 0.01
    assert full.ap >= capped.ap


@pytest.mark.parametrize('kept', [slice(0, 10), slice(0, -1), slice(1, None)])
def test_another_number_of_layers_is_one_line(source, kept):
    graph = read_graph(source)
    with pytest.raises(InputError, match='not the layers of SSD MobileNetV1'):
        read_ssd(graph._replace(layers=graph.layers[kept]), 'a file')


def test_other_anchors_are_refused(source, tmp_path):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(source.read_bytes(), 0))
    [tensor] = [t for t in model.subgraphs[0].tensors if t.name == b'anchors']
    model.buffers[tensor.buffer].data = model.buffers[tensor.buffer].data ^ 16
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b'TFL3')
    (tmp_path / 'other.tflite').write_bytes(builder.Output())
    with pytest.raises(InputError, match='anchors are not the 1917'):
        import_weights(tmp_path / 'other.tflite')
