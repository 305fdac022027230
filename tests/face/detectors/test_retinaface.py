"""RetinaFace: the released network computed from its raw tensors, apart from our code, and what it finds."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.detectors.landmark_head import decoded_points, encoded_points, flatten
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.loading import load
from mbv1_backbone.training.config import load_config
from mbv1_backbone.weights import import_weights, write_weights

CONFIG = 'configs/face/retinaface_mbv1_0.25.py'
FILE = 'retinaface_mobilenet0.25.safetensors'


@pytest.fixture(scope='session')
def source(shared):
    return load_file(shared / 'weights' / FILE)


@pytest.fixture(scope='session')
def weights(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp('retinaface') / 'retinaface.safetensors'
    write_weights(import_weights(shared / 'weights' / FILE), path)
    return path


def released(tensors, image):
    """The network's raw outputs (A, 2), (A, 4), (A, 10) for B, G, R less their means, (1, 3, H, W)."""

    def unit(x, name, stride=1, groups=1, active=True, at=0):
        kernel = tensors[f'{name}.{at}.weight']
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        norm = [
            tensors[f'{name}.{at + 1}.{part}'] for part in ('running_mean', 'running_var', 'weight', 'bias')
        ]
        x = F.batch_norm(x, *norm, eps=1e-5)
        return F.leaky_relu(x, 0.1) if active else x

    x, taps = unit(image, 'body.stage1.0', 2), []
    for stage, strides in ((1, (1, 2, 1, 2, 1)), (2, (2, 1, 1, 1, 1, 1)), (3, (2, 1))):
        for place, stride in enumerate(strides, start=stage == 1):
            name = f'body.stage{stage}.{place}'
            x = unit(unit(x, name, stride, x.shape[1]), name, at=3)
        taps.append(x)
    fine, middle, coarse = (unit(tap, f'fpn.output{n}') for n, tap in enumerate(taps, 1))
    middle = unit(middle + F.interpolate(coarse, middle.shape[2:]), 'fpn.merge2')
    fine = unit(fine + F.interpolate(middle, fine.shape[2:]), 'fpn.merge1')
    outputs = [[], [], []]
    for number, x in enumerate((fine, middle, coarse)):
        ssh = f'ssh{number + 1}'
        five = unit(x, f'{ssh}.conv5X5_1')
        seven = unit(unit(five, f'{ssh}.conv7X7_2'), f'{ssh}.conv7x7_3', active=False)
        views = unit(x, f'{ssh}.conv3X3', active=False), unit(five, f'{ssh}.conv5X5_2', active=False), seven
        x = torch.cat(views, 1).relu()
        for output, (head, values) in zip(
            outputs, (('Class', 2), ('Bbox', 4), ('Landmark', 10)), strict=True
        ):
            layer = f'{head}Head.{number}.conv1x1'
            y = F.conv2d(x, tensors[f'{layer}.weight'], tensors[f'{layer}.bias'])
            output.append(y[0].permute(1, 2, 0).reshape(-1, values))
    return [torch.cat(output) for output in outputs]


def released_faces(outputs, height, width, score_thr=0.5):
    """Boxes, scores and landmarks of raw outputs, decoded and suppressed one by one, the best first."""
    places = [
        ((column + 0.5) * stride, (row + 0.5) * stride, side)
        for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
        for row in range(-(-height // stride))
        for column in range(-(-width // stride))
        for side in sides
    ]
    scores = outputs[0].softmax(1)[:, 1]
    assert len(places) == len(scores)
    kept = []
    for index in scores.argsort(descending=True).tolist():
        if scores[index] <= score_thr:
            break
        x, y, side = places[index]
        dx, dy, dw, dh = outputs[1][index].tolist()
        w, h = side * np.exp(dw * 0.2), side * np.exp(dh * 0.2)
        x1, y1 = x + dx * 0.1 * side - w / 2, y + dy * 0.1 * side - h / 2
        marks = outputs[2][index].view(5, 2).numpy() * 0.1 * side + (x, y)
        box = np.array([x1, y1, x1 + w, y1 + h])
        if all(iou(box, other) <= 0.4 for other, _, _ in kept):
            kept.append((box, float(scores[index]), marks))
    return kept


def iou(a, b):
    w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize('size', [(64, 64), (97, 130), (40, 33)])
@torch.inference_mode()
def test_the_imported_network_computes_what_the_released_one_does(size, source, weights):
    model = Detector.load(CONFIG, weights).network._network
    bgr = torch.randint(0, 256, (1, 3, *size)).float()
    expected = released(source, bgr - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1))
    maps = model.extract_feat(bgr.flip(1) - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1))
    logits, boxes, points = model.bbox_head(maps)
    torch.testing.assert_close(flatten(logits, 2)[0].flip(1), expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(flatten(boxes, 4)[0], expected[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(flatten(points, 10)[0], expected[2], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_it_finds_the_faces_of_photographs_as_the_released_one_does(source, weights, shared):
    files = sorted((shared / 'lfw_color' / 'whole').rglob('*.jpg'))[:12]
    detector = Detector.load(CONFIG, weights)
    for file in files:
        image = read_image(file)
        bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
        outputs = released(source, bgr - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1))
        expected = released_faces(outputs, *image.shape[:2])
        found = detector.detect(image)[0].above(0.5)
        assert len(found) == len(expected)
        for box, score, marks, (their_box, their_score, their_marks) in zip(
            found.boxes, found.scores, found.landmarks, expected, strict=True
        ):
            np.testing.assert_allclose(box, their_box.clip(0, 250), atol=1e-3)
            np.testing.assert_allclose(marks, their_marks, atol=1e-3)
            assert score == pytest.approx(their_score, abs=1e-4)
        left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert left_eye[1] < nose[1] < left_mouth[1]
        assert all(abs((found.boxes[0][i] + found.boxes[0][i + 2]) / 2 - 125) < 40 for i in (0, 1))


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_exported_it_takes_images_of_any_size(backend, weights, shared):
    pytest.importorskip(backend)
    photo = read_image(next((shared / 'lfw_color' / 'whole').rglob('*.jpg')))
    images = [photo, photo[40:230, 30:211], np.tile(photo, (1, 7, 1)), photo[100:110, 100:130], photo[::-1]]
    exported = load(CONFIG, weights, backend, kind='detector', precision='fp32')
    ours = Detector.load(CONFIG, weights)
    for image, found in zip(images, exported.detect(images), strict=True):
        expected = ours.detect(image)[0].above(0.3)
        found = found.above(0.3)
        assert len(found) == len(expected)
        order, theirs = (np.lexsort(some.boxes.round().T) for some in (found, expected))
        np.testing.assert_allclose(found.boxes[order], expected.boxes[theirs], atol=0.01)
        np.testing.assert_allclose(found.landmarks[order], expected.landmarks[theirs], atol=0.01)
        np.testing.assert_allclose(found.scores[order], expected.scores[theirs], atol=1e-4)


def test_a_lost_tensor_is_named(source, tmp_path):
    save_file({k: v for k, v in source.items() if k != 'ssh2.conv7X7_2.0.weight'}, tmp_path / 'x.safetensors')
    with pytest.raises(InputError, match=r'neck\.contexts\.1\.view7_2\.conv\.weight stays empty'):
        import_weights(tmp_path / 'x.safetensors')


@pytest.fixture
def model():
    config = load_config(CONFIG)
    return MODELS.build(dict(config.model, _scope_='mmdet'))


def made_up_faces():
    """Two images: three faces, one of them without landmarks; and none."""
    boxes = torch.tensor([[10.0, 12, 40, 50], [60, 60, 75, 78], [5.0, 80, 100, 124]])
    marks = boxes[:, None, :2] + torch.rand(3, 5, 2) * (boxes[:, None, 2:] - boxes[:, None, :2])
    marks[1] = float('nan')
    some = InstanceData(bboxes=boxes, labels=torch.zeros(3, dtype=torch.long), landmarks=marks)
    none = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return [some, none]


def naive_losses(head, maps, truth):
    """The released network's loss, anchor by anchor: https://github.com/biubug6/Pytorch_Retinaface."""
    outputs = [flatten(level, values) for level, values in zip(maps, (2, 4, 10), strict=True)]
    anchors = head._anchors(maps[0])
    sums, matched_total, marked_total = torch.zeros(3), 0, 0
    for logits, boxes, points, faces in zip(*outputs, truth, strict=True):
        overlap = [[iou(anchor, box) for box in faces.bboxes.tolist()] for anchor in anchors.tolist()]
        of_anchor = [
            (max(range(len(row)), key=row.__getitem__) if row and max(row) >= 0.35 else None)
            for row in overlap
        ]
        for face in range(len(faces)):
            best = max(range(len(anchors)), key=lambda anchor: overlap[anchor][face])
            if overlap[best][face] >= 0.2:
                of_anchor[best] = face
        negatives, matched = [], 0
        for anchor, face in enumerate(of_anchor):
            x1, y1, x2, y2 = anchors[anchor].tolist()
            if face is None:
                negatives.append(float(-logits[anchor].log_softmax(0)[1]))
                continue
            matched += 1
            sums[0] += -logits[anchor].log_softmax(0)[0]
            a1, b1, a2, b2 = faces.bboxes[face].tolist()
            w, h = x2 - x1, y2 - y1
            target = torch.tensor(
                [
                    ((a1 + a2) / 2 - (x1 + x2) / 2) / w / 0.1,
                    ((b1 + b2) / 2 - (y1 + y2) / 2) / h / 0.1,
                    np.log((a2 - a1) / w) / 0.2,
                    np.log((b2 - b1) / h) / 0.2,
                ]
            )
            sums[1] += 2.0 * F.smooth_l1_loss(boxes[anchor], target, reduction='sum')
            marks = faces.landmarks[face]
            if not marks.isnan().any():
                marked_total += 1
                centre, side = torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2]), torch.tensor([w, h])
                target = ((marks - centre) / side / 0.1).flatten()
                sums[2] += F.smooth_l1_loss(points[anchor], target, reduction='sum')
        sums[0] += sum(sorted(negatives, reverse=True)[: 7 * matched])
        matched_total += matched
    return sums / torch.tensor([matched_total, matched_total, marked_total])


def test_losses_are_the_released_networks(model):
    head, truth = model.bbox_head, made_up_faces()
    sizes = [(16, 16), (8, 8), (4, 4)]
    maps = [[torch.randn(2, 2 * values, *size) for size in sizes] for values in (2, 4, 10)]
    metas = [dict(img_shape=(128, 128), pad_shape=(128, 128))] * 2
    losses = head.loss_by_feat(*maps, truth, metas)
    expected = naive_losses(head, maps, truth)
    found = torch.stack([losses[name] for name in ('loss_cls', 'loss_bbox', 'loss_landmarks')])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_batch_without_faces_has_a_loss_of_nothing(model):
    maps = [[torch.randn(1, 2 * values, 4, 4) for _ in range(3)] for values in (2, 4, 10)]
    losses = model.bbox_head.loss_by_feat(*maps, made_up_faces()[1:], [dict(img_shape=(128, 128))])
    assert all(float(loss) == 0 for loss in losses.values())


def test_every_parameter_learns_and_the_loss_falls(model):
    from mmdet.structures import DetDataSample

    samples = [
        DetDataSample(gt_instances=faces, metainfo=dict(img_shape=(128, 128))) for faces in made_up_faces()
    ]
    images = torch.randn(2, 3, 128, 128)
    optimiser = torch.optim.SGD(model.parameters(), lr=5e-3, momentum=0.9)
    totals = []
    for _ in range(12):
        total = sum(model.loss(images, samples).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert totals[-1] < 0.7 * totals[0]


def test_landmarks_are_coded_by_their_anchors():
    anchors = torch.tensor([[0.0, 0, 16, 16], [8, 8, 40, 72]])
    marks = torch.rand(2, 5, 2) * 50
    encoded = encoded_points(anchors, marks, (0.1, 0.1, 0.2, 0.2))
    assert encoded[1, 0, 1] == pytest.approx(float(marks[1, 0, 1] - 40) / 64 / 0.1)
    torch.testing.assert_close(decoded_points(anchors, encoded.flatten(1), (0.1, 0.1, 0.2, 0.2)), marks)
