"""A config of each of mmdet's families, with MobileNetV1 in the place of its backbone."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_mm_proposals
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.utils import get_installed_path

CONFIGS = Path(get_installed_path('mmdet')) / '.mim' / 'configs'
WIDTH = 0.25
ROWS = {2: 3, 4: 3, 8: 5, 16: 11, 32: 13}  # the last row of each stride
CHANNELS = {3: 32, 5: 64, 11: 128, 13: 256}  # at this width
COCO_CHANNELS = [256, 512, 1024, 2048]  # ResNet-50's, in heads without a neck

# What costs seconds and shows nothing: regions a picture, and the breadth of what is made of them.
SMALL = dict(
    feedforward_channels=128,
    max_per_img=50,
    max_num=50,
    nms_pre=100,
    num=32,
    num_queries=50,
    fc_out_channels=64,
)
KEPT = {'scnet': 'fc_out_channels'}  # which other sizes must equal

FAMILIES = {
    'atss': 'atss_r50_fpn_1x_coco',
    'autoassign': 'autoassign_r50-caffe_fpn_1x_coco',
    'boxinst': 'boxinst_r50_fpn_ms-90k_coco',
    'carafe': 'mask-rcnn_r50_fpn-carafe_1x_coco',
    'cascade_rcnn': 'cascade-rcnn_r50_fpn_1x_coco',
    'cascade_rpn': 'cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco',
    'centernet': 'centernet_r18-dcnv2_8xb16-crop512-140e_coco',
    'centripetalnet': 'centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco',
    'condinst': 'condinst_r50_fpn_ms-poly-90k_coco_instance',
    'conditional_detr': 'conditional-detr_r50_8xb2-50e_coco',
    'cornernet': 'cornernet_hourglass104_8xb6-210e-mstest_coco',
    'crowddet': 'crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman',
    'dab_detr': 'dab-detr_r50_8xb2-50e_coco',
    'dcn': 'faster-rcnn_r50_fpn_dpool_1x_coco',
    'dcnv2': 'faster-rcnn_r50_fpn_mdpool_1x_coco',
    'ddod': 'ddod_r50_fpn_1x_coco',
    'ddq': 'ddq-detr-4scale_r50_8xb2-12e_coco',
    'deformable_detr': 'deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'detr': 'detr_r50_8xb2-150e_coco',
    'dino': 'dino-4scale_r50_8xb2-12e_coco',
    'double_heads': 'dh-faster-rcnn_r50_fpn_1x_coco',
    'dyhead': 'atss_r50_fpn_dyhead_1x_coco',
    'dynamic_rcnn': 'dynamic-rcnn_r50_fpn_1x_coco',
    'fast_rcnn': 'fast-rcnn_r50_fpn_1x_coco',
    'faster_rcnn': 'faster-rcnn_r50_fpn_1x_coco',
    'fcos': 'fcos_r50-caffe_fpn_gn-head_1x_coco',
    'foveabox': 'fovea_r50_fpn_gn-head-align_4xb4-2x_coco',
    'fpg': 'faster-rcnn_r50_fpg_crop640-50e_coco',
    'free_anchor': 'freeanchor_r50_fpn_1x_coco',
    'fsaf': 'fsaf_r50_fpn_1x_coco',
    'gfl': 'gfl_r50_fpn_1x_coco',
    'ghm': 'retinanet_r101_fpn_ghm-1x_coco',
    'grid_rcnn': 'grid-rcnn_r50_fpn_gn-head_1x_coco',
    'groie': 'faste-rcnn_r50_fpn_groie_1x_coco',
    'guided_anchoring': 'ga-faster-rcnn_r50_fpn_1x_coco',
    'htc': 'htc_r50_fpn_1x_coco',
    'lad': 'lad_r50-paa-r101_fpn_2xb8_coco_1x',
    'ld': 'ld_r18-gflv1-r101_fpn_1x_coco',
    'libra_rcnn': 'libra-faster-rcnn_r50_fpn_1x_coco',
    'mask2former': 'mask2former_r50_8xb2-lsj-50e_coco',
    'mask_rcnn': 'mask-rcnn_r50_fpn_1x_coco',
    'maskformer': 'maskformer_r50_ms-16xb1-75e_coco',
    'ms_rcnn': 'ms-rcnn_r50_fpn_1x_coco',
    'nas_fcos': 'nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco',
    'nas_fpn': 'retinanet_r50_nasfpn_crop640-50e_coco',
    'paa': 'paa_r50_fpn_1x_coco',
    'pafpn': 'faster-rcnn_r50_pafpn_1x_coco',
    'panoptic_fpn': 'panoptic-fpn_r50_fpn_1x_coco',
    'pisa': 'faster-rcnn_r50_fpn_pisa_1x_coco',
    'point_rend': 'point-rend_r50-caffe_fpn_ms-1x_coco',
    'reppoints': 'reppoints-moment_r50_fpn_1x_coco',
    'retinanet': 'retinanet_r50_fpn_1x_coco',
    'rpn': 'rpn_r50_fpn_1x_coco',
    'rtmdet': 'rtmdet-ins_tiny_8xb32-300e_coco',
    'sabl': 'sabl-faster-rcnn_r50_fpn_1x_coco',
    'scnet': 'scnet_r50_fpn_1x_coco',
    'seesaw_loss': 'mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1',
    'solo': 'solo_r50_fpn_1x_coco',
    'solov2': 'solov2-light_r50-dcn_fpn_ms-3x_coco',
    'sparse_rcnn': 'sparse-rcnn_r50_fpn_1x_coco',
    'ssd': 'ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
    'tood': 'tood_r50_fpn_1x_coco',
    'vfnet': 'vfnet_r50-mdconv-c3-c5_fpn_ms-2x_coco',
    'yolact': 'yolact_r50_1xb8-55e_coco',
    'yolo': 'yolov3_d53_8xb8-320-273e_coco',
    'yolof': 'yolof_r50-c5_8xb8-1x_coco',
    'yolox': 'yolox_tiny_8xb8-300e_coco',
}

# Folders without a detector to put another backbone into, by the reason.
OTHERS = {
    'a backbone of its own': (
        'convnext',
        'detectors',
        'efficientnet',
        'empirical_attention',
        'gcnet',
        'gn',
        'gn+ws',
        'hrnet',
        'pvt',
        'regnet',
        'res2net',
        'resnest',
        'resnet_strikes_back',
        'scratch',
        'selfsup_pretrain',
        'swin',
        'timm_example',
        'tridentnet',
    ),
    "a data set, or a recipe for other folders' detectors": (
        '_base_',
        'albu_example',
        'cityscapes',
        'common',
        'deepfashion',
        'dsdl',
        'instaboost',
        'legacy_1.x',
        'lvis',
        'misc',
        'objects365',
        'openimages',
        'pascal_voc',
        'simple_copy_paste',
        'v3det',
        'wider_face',
    ),
    "a tracker around other folders' detectors, or for films": (
        'bytetrack',
        'deepsort',
        'mask2former_vis',
        'masktrack_rcnn',
        'ocsort',
        'qdtrack',
        'reid',
        'sort',
        'strongsort',
    ),
    'a text encoder, which transformers downloads': ('glip', 'grounding_dino', 'mm_grounding_dino'),
    'batch norm over several processes (MMSyncBN)': ('strong_baselines',),
    'trains; untrained, masks of boxes beyond the picture fail in mmdet': ('queryinst',),
    'two branches of data, of which one has no labels': ('soft_teacher',),
}


def adapted(family: str) -> Config:
    """The family's model with our backbone, what is counted in its channels, and fewer regions."""
    config = Config.fromfile(CONFIGS / family / f'{FAMILIES[family]}.py')
    model = config.model
    _shrink(model, {name: size for name, size in SMALL.items() if name != KEPT.get(family)})
    model.data_preprocessor.pop('batch_augments', None)  # to sizes of 480 to 1024 pixels
    rows = _rows(family, model.backbone)
    channels = [CHANNELS.get(row, 32) for row in rows]
    model.backbone = dict(type='MobileNetV1', widen_factor=WIDTH, out_indices=rows, norm_eval=True)
    _fit(family, model, channels)
    return config


def _shrink(node: object, limits: dict[str, int]) -> None:
    """Leave out what would be downloaded, and most of what costs seconds."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
        for name, value in node.items():
            if isinstance(value, int) and value > limits.get(name, value):
                node[name] = limits[name]
            _shrink(value, limits)
    elif isinstance(node, list | tuple):
        for value in node:
            _shrink(value, limits)


def _rows(family: str, backbone: dict) -> tuple[int, ...]:
    if family in ('cornernet', 'centripetalnet'):
        return 2, 3  # two stacks of hourglasses, at stride 4
    if family == 'ssd':
        return 11, 13
    kind, indices = backbone['type'], backbone.get('out_indices')
    if kind in ('CSPDarknet', 'CSPNeXt', 'Darknet'):
        return 5, 11, 13
    return tuple(ROWS[4 * 2**stage] for stage in (indices or (0, 1, 2, 3)))


def _fit(family: str, model: dict, channels: list[int]) -> None:
    neck = model.get('neck')
    neck = neck[0] if isinstance(neck, list) else neck
    if family == 'yolo':
        neck.in_channels = channels[::-1]
    elif family == 'ssd':
        neck.in_channels = channels
        neck.out_channels = [*channels, *neck.out_channels[2:]]
        model.bbox_head.in_channels = neck.out_channels
    elif family in ('cornernet', 'centripetalnet'):
        model.bbox_head.in_channels = channels[-1]
    elif neck is not None:
        neck.in_channels = channels[-1] if isinstance(neck.in_channels, int) else channels
    if model.get('panoptic_head', {}).get('in_channels') == COCO_CHANNELS:
        model.panoptic_head.in_channels = channels
    if 'teacher_ckpt' in model:
        model.teacher_ckpt = None
    if 'teacher_config' in model:  # from mmdet's own repository
        model.teacher_config = str(CONFIGS.parent / model.teacher_config)


def pictures(family: str) -> dict:
    """Two of noise, with two and three things of the first class."""
    side = 320 if family == 'ssd' else 128
    shapes = [(3, side, side)] * 2
    torch.manual_seed(0)
    data = demo_mm_inputs(
        2, shapes, num_items=[2, 3], with_mask=True, with_semantic=True, sem_seg_output_strides=8
    )
    meta = dict(batch_input_shape=(side, side), pad_shape=(side, side), scale_factor=(1.0, 1.0))
    for sample, regions in zip(data['data_samples'], demo_mm_proposals(shapes, 20), strict=True):
        sample.gt_instances.labels.zero_()
        sample.ignored_instances = sample.ignored_instances[:0]
        sample.set_metainfo(meta)
        if family == 'fast_rcnn':
            sample.proposals = regions
    return data


def train_and_predict(family: str) -> tuple[float, list]:
    """The loss of a step of two pictures, and what is predicted of the first after it."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(adapted(family).model))
    model.init_weights()
    for name in ('epoch', 'iter'):  # what a runner says
        MessageHub.get_current_instance().update_info(name, 0)
    model.train()
    prepared = model.data_preprocessor(pictures(family), True)
    loss, _ = model.parse_losses(model(**prepared, mode='loss'))
    before = [parameter.detach().clone() for parameter in model.backbone.parameters()]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
    optimizer.step()
    after = model.backbone.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    model.eval()
    with torch.no_grad():
        first = {name: values[:1] for name, values in pictures(family).items()}  # GA-RPN takes one at a time
        results = model(**model.data_preprocessor(first, False), mode='predict')
    return loss.item(), results
