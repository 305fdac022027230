"""Our names in the registries of mmengine and its children, whatever is imported first."""

import ast
from pathlib import Path

import pytest

import mbv1_backbone
from mbv1_backbone.compat.registry import NAMES

PACKAGE = Path(mbv1_backbone.__file__).parent

LOOK_UP = """
import mmdet.registry, mmengine.registry
for registries in (mmengine.registry, mmdet.registry):
    assert registries.MODELS.get('MobileSSDHead').__module__ == 'mbv1_backbone.detection.ssd_head'
    assert registries.HOOKS.get('SafeCheckpointHook') and registries.HOOKS.get('PretrainedHook')
    assert registries.TRANSFORMS.get('LoadFace') and registries.TRANSFORMS.get('LoadImage')
    assert registries.TASK_UTILS.get('MobileSSDAnchorGenerator')
    assert registries.DATASETS.get('FaceDataset') and registries.METRICS.get('FaceMetric')
    assert 'MobileNetV1' in registries.MODELS and 'MobileNetV9' not in registries.MODELS
    assert registries.MODELS.get('mmengine.MobileNetV1') is registries.MODELS.get('MobileNetV1')
    net = registries.MODELS.build(dict(type='MobileNetV1', widen_factor=0.25))
    assert [tap.stride for tap in net.taps] == [32]
import mmdet.models
assert mmdet.models.SSDHead.loss_cls is None
from mmengine.runner import CheckpointLoader
try:
    CheckpointLoader.load_checkpoint('zoo://no_such_model')
except ValueError as error:
    assert 'no_such_model' in str(error), error
import sys, torch
from mbv1_backbone.compat import mmcv_ext
from mmcv.ops import nms
assert mmcv_ext.in_use() == ('compiled' not in globals())
assert 'compiled' in globals() or len(nms(torch.tensor([[0., 0, 9, 9]]), torch.ones(1), .5)[1]) == 1
print('found')
"""

ORDERS = {
    'custom_imports': """
from mmengine.config import Config
Config.fromstring("custom_imports = dict(imports=['mbv1_backbone'])", '.py')
""",
    'before everything': 'import mbv1_backbone',
    'after mmengine': 'import mmengine, mbv1_backbone',
    'after mmcv': 'import mmcv, mmcv.cnn, mbv1_backbone',
    "after mmengine's runner": 'import mmengine.runner, mbv1_backbone',
    'after mmdet': 'import mmdet, mbv1_backbone',
    'after its failure': """
try:
    import mmdet.models
    raise SystemExit('mmcv._ext is there: this proves nothing')
except ModuleNotFoundError: pass
import mbv1_backbone
""",
    'after its models': """
import sys, types
class Compiled(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        return lambda *_: None
compiled = sys.modules['mmcv._ext'] = Compiled('mmcv._ext')
import mmdet.models, mbv1_backbone
""",
    'a room of ours first': 'import mbv1_backbone.models.layers',
}


@pytest.mark.slow
@pytest.mark.parametrize('order', ORDERS)
def test_names_are_found_in_every_import_order(order, run):
    assert run('-c', ORDERS[order] + LOOK_UP).stdout.splitlines()[-1] == 'found'


MMPRETRAIN = """
from mmpretrain.registry import MODELS, HOOKS
assert HOOKS.get('CurvesHook').__module__ == 'mbv1_backbone.training.curves'
print([tap.stride for tap in MODELS.build(dict(type='MobileNetV1', widen_factor=0.25)).taps])
"""


@pytest.mark.slow
@pytest.mark.parametrize('order', ['import mbv1_backbone, mmpretrain', 'import mmpretrain, mbv1_backbone'])
def test_mmpretrain_builds_the_backbone(order, run):
    pytest.importorskip('mmpretrain')
    assert run('-c', order + MMPRETRAIN).stdout.splitlines()[-1] == '[32]'


def test_the_table_is_what_the_code_registers():
    registered: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            decorators = node.decorator_list if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
            if any('.register_module(' in ast.unparse(decorator) for decorator in decorators):
                module = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
                registered.setdefault(module, []).append(node.name)
    assert {module: sorted(names) for module, names in registered.items()} == {
        module: sorted(names) for module, names in NAMES.items()
    }


def test_a_name_of_ours_does_not_hide_what_is_registered_nearer():
    from mmengine.registry import TRANSFORMS, Registry

    child = Registry('transform', scope='nearer', parent=TRANSFORMS)

    @child.register_module()
    class LoadImage:
        pass

    assert child.get('LoadImage') is LoadImage
    assert child.get('nearer.LoadImage') is LoadImage
    assert child.get('LoadFace').__module__ == 'mbv1_backbone.face.transforms'
