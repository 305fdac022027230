"""Every detector can learn: a few images by heart, at a quarter of the width, and then finds their boxes."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools.mask import decode
from support.project import ROOT
from torch.nn.modules.batchnorm import _BatchNorm

from mbv1_backbone.training import load_config

pytestmark = pytest.mark.slow
NARROW = dict(widen_factor=0.25)
SSD = dict(
    backbone=NARROW,
    neck=dict(in_channels=(128, 256), out_channels=(128, 256, 128, 64, 64, 32)),
    bbox_head=dict(
        num_classes=5, in_channels=(128, 256, 128, 64, 64, 32), anchor_generator=dict(input_size=160)
    ),
)
C4 = dict(
    backbone=NARROW,
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        shared_head=NARROW,
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=256, num_classes=5),
    ),
)
FPN = dict(
    backbone=NARROW,
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=128, num_classes=5),
    ),
)
MASK = dict(
    FPN,
    roi_head=dict(
        FPN['roi_head'],
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64, num_convs=2, num_classes=5),
    ),
    train_cfg=dict(  # fewer regions than on real data, for the sake of time
        rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=96))
    ),
)
RETINA = dict(
    backbone=NARROW,
    neck=dict(in_channels=[64, 128, 256], out_channels=64),
    bbox_head=dict(in_channels=64, feat_channels=64, num_classes=5),
)
# config, what makes it narrow, side of the images, steps
CASES = [
    ('ssd_mbv1_coco', SSD, 160, 120),
    ('ssd_mbv1_focal_coco', SSD, 160, 120),
    ('ssdlite_mbv1_coco', SSD, 160, 120),
    ('faster_rcnn_mbv1_300_coco', C4, 160, 100),
    ('faster_rcnn_mbv1_600_coco', C4, 288, 100),
    ('faster_rcnn_mbv1_fpn_coco', FPN, 160, 80),
    ('mask_rcnn_mbv1_fpn_coco', MASK, 160, 80),
    ('retinanet_mbv1_fpn_640_coco', RETINA, 160, 150),
]


def samples(folder, side, count=2):
    """Images (N, 3, side, side) as BGR bytes, and their annotations."""
    truth = json.loads((folder / 'annotations' / 'train.json').read_text())
    inputs, data_samples = [], []
    for entry in truth['images'][:count]:
        image = Image.open(folder / 'images' / entry['file_name']).convert('RGB')
        scale = np.array([side / image.width, side / image.height] * 2, dtype=np.float32)
        found = [a for a in truth['annotations'] if a['image_id'] == entry['id']]
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in found)]) * scale
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(side, side),
                ori_shape=(side, side),
                scale_factor=(1.0, 1.0),
                batch_input_shape=(side, side),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(corners, dtype=torch.float32),
            labels=torch.tensor([a['category_id'] - 1 for a in found]),
        )
        whole = np.zeros((len(found), image.height, image.width), np.uint8)
        for mask, annotation in zip(whole, found, strict=True):
            mask[:] = decode(annotation['segmentation'])
        sample.gt_instances.masks = BitmapMasks(whole, image.height, image.width).resize((side, side))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        pixels = np.asarray(image.resize((side, side)))[..., ::-1].copy()
        inputs.append(torch.from_numpy(pixels).permute(2, 0, 1))
        data_samples.append(sample)
    return dict(inputs=inputs, data_samples=data_samples)


def settle(model, prepared):
    """Batch norm's statistics as they are at the end, not on the way there."""
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training:
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for _ in range(3):
            model.loss(prepared['inputs'], prepared['data_samples'])
    model.eval()


@pytest.mark.parametrize(('name', 'narrow', 'side', 'steps'), CASES, ids=[case[0] for case in CASES])
def test_a_detector_learns_images_by_heart(name, narrow, side, steps, demo_data):
    cfg = load_config(ROOT / 'configs' / 'detection' / f'{name}.py', dict(model=narrow))
    model = MODELS.build(dict(cfg.model, _scope_='mmdet'))
    model.init_weights()
    data = samples(demo_data, side)
    prepared = model.data_preprocessor(data, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.2)
    losses = []
    model.train()
    for _ in range(steps):
        loss, _ = model.parse_losses(model.loss(prepared['inputs'], prepared['data_samples']))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    print(name, [round(value, 3) for value in losses[:: steps // 10]], round(losses[-1], 3))
    assert np.mean(losses[-5:]) < 0.35 * losses[0]

    settle(model, prepared)
    with torch.inference_mode():
        results = model.predict(prepared['inputs'], prepared['data_samples'])
    for result, sample in zip(results, data['data_samples'], strict=True):
        truth, found = sample.gt_instances, result.pred_instances
        assert len(truth)
        confident = found[found.scores > 0.2]
        overlaps = bbox_overlaps(truth.bboxes, confident.bboxes)
        overlaps[truth.labels[:, None] != confident.labels[None]] = 0
        assert overlaps.max(dim=1).values.min() > 0.5, (truth.bboxes, confident.bboxes)
        if 'mask' in name:
            pairs = zip(
                truth.masks.masks.astype(bool), confident.masks[overlaps.argmax(1)].numpy(), strict=True
            )
            assert np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]) > 0.6
