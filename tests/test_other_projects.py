"""Projects outside this repository: their own config files of ten lines, and mmdet's own configs."""

import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from mmengine.utils import get_installed_path
from support.project import CLASSIFIER

RETINANET = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mbv1_backbone'])
model = dict(
    backbone=dict(_delete_=True, type='MobileNetV1', out_indices=(5, 11, 13), norm_eval=True),
    neck=dict(in_channels=[256, 512, 1024], start_level=0, num_outs=5))
"""

# A script in the user's folder and a process of its own: only the config imports anything of ours.
TRAIN_AND_PREDICT = """
import sys
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

cfg = Config.fromfile(sys.argv[1])
init_default_scope(cfg.default_scope)
if cfg.default_scope == 'mmdet':
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs
    data = demo_mm_inputs(2, [[3, 128, 160]] * 2, num_classes=80)
else:
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
    import mmpretrain.models
    samples = [DataSample(metainfo=dict(img_shape=(64, 64))).set_gt_label(label) for label in (1, 7)]
    data = dict(inputs=torch.randint(0, 256, (2, 3, 64, 64)), data_samples=samples)
model = MODELS.build(cfg.model)
model.init_weights()
model.train()
prepared = model.data_preprocessor(data, True)
losses = model(**prepared, mode='loss')
loss, _ = model.parse_losses(losses)
loss.backward()
assert all(p.grad is not None for p in model.backbone.parameters())
results = model.eval()(**model.data_preprocessor(data, False), mode='predict')
print('predicted', len(results), type(model.backbone).__name__, float(loss))
"""


@pytest.mark.slow
@pytest.mark.parametrize('config', [RETINANET, CLASSIFIER], ids=['RetinaNet', 'classifier'])
def test_a_ten_line_project_imports_the_backbone(config, tmp_path):
    (tmp_path / 'config.py').write_text(config)
    (tmp_path / 'script.py').write_text(TRAIN_AND_PREDICT)
    done = subprocess.run(
        [sys.executable, 'script.py', 'config.py'], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'predicted 2 MobileNetV1' in done.stdout


# One of each family that mmdet ships, unmodified; weights stay random, since none can be fetched.
MMDET_CONFIGS = [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
    'ssd/ssd300_coco.py',
]


@pytest.mark.slow
@pytest.mark.parametrize('name', MMDET_CONFIGS)
def test_mmdets_own_configs_train_a_step_and_predict(name):
    from mmdet.structures import DetDataSample

    torch.manual_seed(0)
    init_default_scope('mmdet')
    cfg = Config.fromfile(get_installed_path('mmdet') + f'/.mim/configs/{name}')
    for part in (cfg.model.backbone, cfg.model.get('roi_head', {}).get('shared_head', {})):
        part['init_cfg'] = None  # drops the download, keeps the part's own default
    model = MODELS.build(dict(cfg.model, _scope_='mmdet'))
    model.init_weights()  # without it, mmdet's L2Norm is whatever the memory held: NaN now and then
    side = {'ssd/ssd300_coco.py': 300, MMDET_CONFIGS[4]: 320}.get(name, 128)
    meta = dict(
        img_shape=(side, side), ori_shape=(side, side), pad_shape=(side, side), scale_factor=(1.0, 1.0)
    )
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=meta)
        boxes = torch.tensor([[10.0, 12, 70, 90], [40, 40, 120, 100]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 16]))
        samples.append(sample)
    data = dict(inputs=[torch.randint(0, 256, (3, side, side), dtype=torch.uint8)] * 2, data_samples=samples)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    prepared = model.train().data_preprocessor(data, True)
    loss, _ = model.parse_losses(model.loss(prepared['inputs'], prepared['data_samples']))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    results = model.eval().test_step(data)
    assert len(results) == 2
    assert all(result.pred_instances.bboxes.shape[1] == 4 for result in results)


BARE = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split('.')[0] in {absent!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
original = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.split('.')[0] in {absent!r} else original(name, *a)
import mbv1_backbone
from mmengine.registry import MODELS
import torch
net = MODELS.build(dict(type='MobileNetV1', widen_factor=0.25, norm_cfg=dict(type='SyncBN')))
print(net.eval()(torch.zeros(1, 3, 32, 32))[0].shape)
print([m for m in sys.modules if m.split('.')[0] in {absent!r}])
"""


@pytest.mark.slow
def test_without_mmdet_and_mmcv_there_is_the_backbone():
    absent = ('mmdet', 'mmcv', 'pycocotools', 'faiss', 'tensorboard', 'tqdm')
    script = BARE.format(absent=absent)
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ['torch.Size([1, 256, 1, 1])', '[]']


WITHOUT_MMENGINE = """
import sys
sys.modules['mmengine'] = None
from mbv1_backbone import Gallery, InputError
try:
    from mbv1_backbone import MobileNetV1
except ImportError as error:
    print(error)
"""


def test_without_mmengine_one_line_says_so(run):
    assert run('-c', WITHOUT_MMENGINE).stdout.splitlines() == [
        'mbv1_backbone.MobileNetV1 needs mmengine: pip install mmengine (or onedl-mmengine)'
    ]
