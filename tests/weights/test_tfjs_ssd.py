"""A face detector of the Object Detection API as TensorFlow.js weights, computed from its raw tensors."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.inputs import fit
from mbv1_backbone.inference.loading import load
from mbv1_backbone.weights import import_weights, write_weights
from mbv1_backbone.weights.tfjs import read_tensors

CONFIG = 'configs/face/ssd_mbv1_512_face.py'
FOLDER = 'face_ssd_mobilenetv1_tfjs'
MANIFEST = 'ssd_mobilenetv1_model-weights_manifest.json'


@pytest.fixture(scope='session')
def source(shared):
    tensors = read_tensors(shared / 'weights' / FOLDER / MANIFEST)
    return {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}


@pytest.fixture(scope='session')
def weights(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp('ssd') / 'face.safetensors'
    write_weights(import_weights(shared / 'weights' / FOLDER / MANIFEST), path)
    return path


def conv(x, kernel, stride=1, groups=1):
    """With TensorFlow's SAME padding."""
    kernel = kernel.permute(2, 3, 0, 1) if groups > 1 else kernel.permute(3, 2, 0, 1)
    total = [max((-(-side // stride) - 1) * stride + kernel.shape[-1] - side, 0) for side in x.shape[2:]]
    x = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    return F.conv2d(x, kernel, stride=stride, groups=groups)


@torch.inference_mode()
def released(tensors, image):
    """Boxes (5118, 4), x1, y1, x2, y2 as shares of the input, and scores (5118,) of uint8 (512, 512, 3)."""

    def folded(x, name, stride=1):
        x = conv(x, tensors[f'{name}/weights'], stride)
        return (x + tensors[f'{name}/convolution_bn_offset'].view(-1, 1, 1)).clamp(0, 6)

    x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    x = x * tensors['Preprocessor/mul/x'] - tensors['Preprocessor/sub/y']
    x, levels = folded(x, 'MobilenetV1/Conv2d_0_pointwise', 2), []
    for row in range(1, 14):
        name = f'MobilenetV1/Conv2d_{row}_depthwise'
        x = conv(x, tensors[f'{name}/depthwise_weights'], 2 if row in (2, 4, 6, 12) else 1, x.shape[1])
        gamma, beta, mean, variance = (
            tensors[f'{name}/BatchNorm/{part}'].view(-1, 1, 1)
            for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')
        )
        x = ((x - mean) / (variance + 0.001).sqrt() * gamma + beta).clamp(0, 6)
        x = folded(x, f'MobilenetV1/Conv2d_{row}_pointwise')
        levels += [x] if row in (11, 13) else []
    for extra in range(8):
        x = folded(x, f'Prediction/Conv2d_{extra}_pointwise', 1 + extra % 2)
        levels += [x] if extra % 2 else []
    encoded, logits = [], []
    for number, level in enumerate(levels):
        for kind, values, rows in (('BoxEncoding', 4, encoded), ('Class', 3, logits)):
            name = f'Prediction/BoxPredictor_{number}/{kind}Predictor'
            y = conv(level, tensors[f'{name}/weights']) + tensors[f'{name}/biases'].view(-1, 1, 1)
            rows.append(y[0].permute(1, 2, 0).reshape(-1, values))
    y1, x1, y2, x2 = tensors['Output/extra_dim'][0].unbind(1)
    dy, dx, dh, dw = torch.cat(encoded).unbind(1)
    y, x = (y1 + y2) / 2 + dy / 10 * (y2 - y1), (x1 + x2) / 2 + dx / 10 * (x2 - x1)
    h, w = (y2 - y1) * (dh / 5).exp(), (x2 - x1) * (dw / 5).exp()
    boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return boxes.numpy(), torch.cat(logits)[:, 1].sigmoid().numpy()


def overlap(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(0).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def suppressed(boxes, scores, score_thr=0.3, iou=0.5):
    order = [i for i in np.argsort(-scores, kind='stable') if scores[i] > score_thr]
    kept = []
    for index in order:
        if not kept or overlap(boxes[index], boxes[kept]).max() <= iou:
            kept.append(index)
    return boxes[kept], scores[kept]


def test_faces_are_those_of_the_released_network(source, weights, shared):
    files = sorted((shared / 'lfw_color' / 'whole').rglob('*.jpg'))[:5]
    ours = Detector.load(CONFIG, weights)
    exported = load(CONFIG, weights, kind='detector', precision='fp32')
    spec = exported.network.network.spec
    for file in files:
        image = read_image(file)
        expected, scores = suppressed(*released(source, fit(image, spec)[0]))
        expected = (expected * 512).clip(0, 512) * 250 / 512
        for detector in (ours, exported):
            found = detector.detect(image)[0].above(0.3)
            np.testing.assert_allclose(found.boxes, expected, atol=0.02)
            np.testing.assert_allclose(found.scores, scores, atol=1e-4)
        assert overlap(np.array([80, 70, 170, 190]), expected).max() > 0.4


def test_what_is_left_out_is_the_third_logit_and_the_graphs_constants(shared):
    weights = import_weights(shared / 'weights' / FOLDER / MANIFEST)
    left_out = {move.source for move in weights.moves if move.target is None}
    assert len(left_out) < 25
    assert all(name.startswith(('Pre', 'Post', 'concat', 'Output')) or '/st' in name for name in left_out)
    assert weights.recipe.input_size == 512
    assert weights.state['bbox_head.cls_convs.0.weight'].shape == (6, 512, 1, 1)


def damaged(folder, shared, change):
    shutil.copytree(shared / 'weights' / FOLDER, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / MANIFEST).read_text())
    for entry in manifest[0]['weights']:
        change(entry)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder / MANIFEST


def test_another_networks_tensors_are_refused(shared, tmp_path):
    def other_size(entry):
        if entry['name'] == 'Preprocessor/ResizeImage/size':
            entry['quantization']['min'] = 300  # 8 bits, all of them 0

    def nameless(entry):
        if entry['name'] == 'Prediction/BoxPredictor_3/ClassPredictor/biases':
            entry['name'] = 'Prediction/other'

    with pytest.raises(InputError, match="5118 anchors are not the released SSD's at 300 pixels"):
        import_weights(damaged(tmp_path / 'a', shared, other_size))
    with pytest.raises(InputError, match=r'Prediction/other.* has no place.*cls_convs\.3\.bias stays empty'):
        import_weights(damaged(tmp_path / 'b', shared, nameless))
