import copy
import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mbv1_backbone.detection import MobileSSDHead

TRAIN = ConfigDict(
    assigner=dict(
        type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0, ignore_iof_thr=-1,
        gt_max_assign_all=False,
    ),
    sampler=dict(type='PseudoSampler'),
    allowed_border=-1,
    pos_weight=-1,
    neg_pos_ratio=3,
)  # fmt: skip
TEST = ConfigDict(nms_pre=1000, score_thr=1e-8, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100)
CHANNELS = (8, 8, 8, 8, 8, 8)
META = dict(img_shape=(300, 300), pad_shape=(300, 300), ori_shape=(300, 300), scale_factor=(1.0, 1.0))


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def make_head(num_classes=3, train_cfg=TRAIN, **kwargs):
    generator = dict(type='MobileSSDAnchorGenerator', input_size=300)
    return MobileSSDHead(
        num_classes, CHANNELS, generator, train_cfg=copy.deepcopy(train_cfg), test_cfg=TEST, **kwargs
    )


def features(batch=2):
    return [torch.randn(batch, 8, n, n) for n in (19, 10, 5, 3, 2, 1)]


def truth(boxes, labels):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )


BATCH = [
    truth([[10, 10, 120, 140], [150, 160, 290, 280], [5, 200, 45, 240]], [0, 2, 1]),
    truth([[100, 100, 220, 180]], [1]),
]


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def softplus(x):
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def slow_losses(logits, deltas, anchors, batch, num_classes, ratio=3):
    """The SSD loss by loops: matching, sigmoid cross entropy, hard negatives, smooth L1."""
    total_cls = total_box = matches = 0.0
    for image, instances in enumerate(batch):
        boxes = instances.bboxes.tolist()
        owner = {}
        for a, anchor in enumerate(anchors):
            best = max(range(len(boxes)), key=lambda g: iou(anchor, boxes[g]), default=None)
            if best is not None and iou(anchor, boxes[best]) >= 0.5:
                owner[a] = best
        for g, box in enumerate(boxes):  # every box keeps its best anchor
            owner[max(range(len(anchors)), key=lambda a: iou(anchors[a], box))] = g

        def cross_entropy(a, target, row=logits[image]):
            return sum(softplus(v) - (v if c == target else 0) for c, v in enumerate(row[a]))

        negatives = sorted(
            (cross_entropy(a, num_classes) for a in range(len(anchors)) if a not in owner), reverse=True
        )
        total_cls += sum(cross_entropy(a, int(instances.labels[g])) for a, g in owner.items())
        total_cls += sum(negatives[: ratio * len(owner)])
        matches += len(owner)
        for a, g in owner.items():
            ax, ay, aw, ah = centre_form(anchors[a])
            bx, by, bw, bh = centre_form(boxes[g])
            target = (10 * (bx - ax) / aw, 10 * (by - ay) / ah, 5 * math.log(bw / aw), 5 * math.log(bh / ah))
            for value, wanted in zip(deltas[image][a], target, strict=True):
                distance = abs(value - wanted)
                total_box += 0.5 * distance**2 if distance < 1 else distance - 0.5
    return total_cls / max(matches, 1), total_box / max(matches, 1)


def centre_form(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def test_losses_equal_a_slow_loop():
    head = make_head()
    head.init_weights()
    scores, boxes = head(features())
    losses = head.loss_by_feat(scores, boxes, BATCH, [META, META])

    def rows(maps, values):
        flat = [m.permute(0, 2, 3, 1).reshape(2, -1, values) for m in maps]
        return torch.cat(flat, 1).tolist()

    anchors = torch.cat(head.prior_generator.grid_priors(head.prior_generator.map_sizes)).tolist()
    expected = slow_losses(rows(scores, 4), rows(boxes, 4), anchors, BATCH, num_classes=3)
    assert (losses['loss_cls'].item(), losses['loss_bbox'].item()) == pytest.approx(expected, rel=1e-4)


def test_ignored_anchors_are_never_mined():
    """A crowd over the whole image takes every unmatched anchor out of the loss, and keeps the matches."""
    head = make_head()
    scores, boxes = head(features(1))
    crowd = InstanceData(bboxes=torch.tensor([[-400.0, -400.0, 700.0, 700.0]]))
    without = head.loss_by_feat(scores, boxes, BATCH[1:], [META], [InstanceData(bboxes=torch.zeros(0, 4))])
    within = head.loss_by_feat(scores, boxes, BATCH[1:], [META], [crowd])
    assert 0 < within['loss_cls'].item() < without['loss_cls'].item()
    assert within['loss_bbox'].item() == without['loss_bbox'].item()


def test_images_without_boxes_give_zero_loss_and_gradients():
    head = make_head()
    losses = head.loss_by_feat(*head(features(1)), [truth([], [])], [META])
    assert losses['loss_cls'].item() == losses['loss_bbox'].item() == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_an_empty_image_beside_a_full_one_changes_only_the_negatives():
    head, maps = make_head(), features(1)
    alone = head.loss_by_feat(*head(maps), BATCH[1:], [META])
    pair = head.loss_by_feat(
        *head([torch.cat([m, m]) for m in maps]), [BATCH[1], truth([], [])], [META, META]
    )
    for name, value in alone.items():
        assert pair[name].item() == pytest.approx(value.item(), rel=1e-5)


def test_focal_loss_counts_all_anchors():
    config = copy.deepcopy(TRAIN)
    config.neg_pos_ratio = None
    loss = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.75)
    head = make_head(train_cfg=config, background_logit=False, loss_cls=loss)
    assert head.cls_convs[0].out_channels == 3 * 3
    scores, boxes = head(features(1))
    losses = head.loss_by_feat(scores, boxes, [truth([], [])], [META])
    logits = torch.cat([s.flatten() for s in scores]).tolist()
    expected = sum(0.25 * (1 / (1 + math.exp(-x))) ** 2 * softplus(x) for x in logits)
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-4)


def test_the_background_is_never_detected():
    head = make_head()
    scores, boxes = head(features(1))
    with torch.no_grad():
        for score in scores:
            score.reshape(-1, 4, *score.shape[-2:])[:, 3] = 50.0
            score.reshape(-1, 4, *score.shape[-2:])[:, :3] = -50.0
        scores[1].reshape(6, 4, 10, 10)[2, 1, 4, 7] = 3.0
    result = head.predict_by_feat(scores, boxes, batch_img_metas=[META], rescale=True)[0]
    assert int(result.labels[0]) == 1
    assert float(result.scores[0]) == pytest.approx(1 / (1 + math.exp(-3.0)))
    assert (result.scores[1:] < 1e-6).all()


def test_detections_are_the_decoded_anchors():
    head = make_head()
    scores, boxes = ([torch.full_like(m, -9.0) for m in maps] for maps in head(features(1)))
    for level in boxes:
        level.zero_()
    scores[2].reshape(6, 4, 5, 5)[0, 2, 1, 3] = 4.0
    boxes[2].reshape(6, 4, 5, 5)[0, :, 1, 3] = torch.tensor([1.0, -2.0, 0.5, 0.0])
    result = head.predict_by_feat(scores, boxes, batch_img_metas=[META], rescale=True)[0]
    anchor = 0.5 * 300
    x, y = 3.5 * 60 + 1.0 / 10 * anchor, 1.5 * 60 - 2.0 / 10 * anchor
    width, height = anchor * math.exp(0.5 / 5), anchor
    expected = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert result.bboxes[0].tolist() == pytest.approx([min(max(v, 0), 300) for v in expected], abs=1e-3)


def test_a_softmax_loss_is_refused():
    with pytest.raises(ValueError, match='loss_cls must be a sigmoid loss'):
        make_head(loss_cls=dict(type='CrossEntropyLoss'))


def test_levels_must_match_the_anchors():
    with pytest.raises(
        ValueError, match=r'in_channels must have one entry for each of the 6 levels .*\(8, 8\)'
    ):
        MobileSSDHead(3, (8, 8), dict(type='MobileSSDAnchorGenerator'))
