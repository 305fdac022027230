"""Pre-trained weights through a run: what the config takes from them, and what a checkpoint remembers."""

import dataclasses

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.training import default_start, load_config, load_weights, published, train, use_pretrained
from mbv1_backbone.weights import Weights, write_weights

RECIPE = Recipe('a test', 0.25, 'same', dict(type='ReLU6'), 1e-3, (128.0,) * 3, (128.0,) * 3)


@pytest.fixture
def imported(tmp_path):
    net = MobileNetV1(0.25)
    net.init_weights()
    state = {k: v for k, v in net.state_dict().items() if not k.endswith('tracked')}
    path = tmp_path / 'w.safetensors'
    write_weights(Weights(state, RECIPE), path)
    return path


def build(cfg):
    init_default_scope('mmdet')
    return MODELS.build(dict(cfg.model, _scope_='mmdet'))


def test_a_config_takes_all_that_the_weights_ask_for(tiny_config, imported):
    cfg = load_config(tiny_config)
    use_pretrained(cfg, str(imported))
    model = build(cfg)
    model.init_weights()
    assert model.backbone.recipe == RECIPE
    assert recipe_of(model, 'a test') == dataclasses.replace(RECIPE, input_size=224)
    assert cfg.model.backbone.norm_cfg.type == 'SteadyBN'  # only the epsilon is the weights' business


@pytest.mark.parametrize(
    ('width', 'name'),
    [(1.0, 'mobilenet_v1_1.0_224_float'), (0.5, 'mobilenet_v1_0.5_160'), (0.25, 'mobilenet_v1_0.25_128')],
)
def test_without_a_name_the_start_is_by_width(tiny_config, width, name):
    cfg = load_config(tiny_config)
    cfg.model.backbone.widen_factor = width
    assert default_start(cfg) == f'google/{name}'


def test_the_last_layer_of_a_classifier_is_not_warned_of(tmp_path, tiny_config, caplog):
    """Of every fine-tuning mmengine said that the weights do not fit, and named head.fc."""
    state = {k: v for k, v in MobileNetV1(0.25).state_dict().items() if not k.endswith('tracked')}
    state |= {'head.fc.weight': torch.zeros(7, 256), 'head.fc.bias': torch.zeros(7)}
    write_weights(Weights(state, RECIPE, kind='classifier'), tmp_path / 'c.safetensors')
    cfg = load_config(tiny_config)
    use_pretrained(cfg, str(tmp_path / 'c.safetensors'))
    model = build(cfg)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        model.init_weights()
    finally:
        logger.removeHandler(caplog.handler)
    assert 'unexpected key' not in caplog.text
    assert torch.equal(model.backbone.state_dict()['rows.0.conv.weight'], state['rows.0.conv.weight'])


@pytest.mark.parametrize('odd', [dict(widen_factor=1.25), dict(variant='full')])
def test_without_a_start_of_its_kind_a_name_is_asked_for(tiny_config, odd):
    cfg = load_config(tiny_config)
    cfg.model.backbone.update(odd)
    with pytest.raises(InputError, match=r'name a file'):
        default_start(cfg)


def test_a_faster_rcnns_second_stage_starts_from_the_same_file(imported):
    narrow = {
        'model.backbone.widen_factor': 0.25,
        'model.roi_head.shared_head.widen_factor': 0.25,
        'model.rpn_head.in_channels': 128,
        'model.roi_head.bbox_roi_extractor.out_channels': 128,
        'model.roi_head.bbox_head.in_channels': 256,
    }
    cfg = load_config('configs/detection/faster_rcnn_mbv1_300_coco.py', narrow)
    use_pretrained(cfg, str(imported))
    model = build(cfg)
    model.init_weights()
    full = MobileNetV1(init_cfg=dict(type='Pretrained', checkpoint=str(imported)), **RECIPE.backbone())
    full.init_weights()
    for name, tensor in model.roi_head.shared_head.state_dict().items():
        assert torch.equal(tensor, full.state_dict()[name]), name
    assert not any(
        m.training for m in model.train().roi_head.shared_head.modules() if 'Norm' in type(m).__name__
    )


def test_another_backbone_is_refused(imported, tmp_path):
    (tmp_path / 'c.py').write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'")
    with pytest.raises(InputError, match='needs a MobileNetV1 backbone, got ResNet'):
        use_pretrained(load_config(tmp_path / 'c.py'), str(imported))


@pytest.fixture
def checkpoint(tiny_config, tmp_path):
    """A checkpoint as a run saves it, of the config as it is."""
    model = build(load_config(tiny_config))
    recipe = dataclasses.asdict(recipe_of(model, 'run'))
    meta = dict(recipe=recipe, dataset_meta=dict(classes=('a', 'b', 'c', 'd', 'e')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'epoch_1.pth')
    return tmp_path / 'epoch_1.pth'


def test_a_checkpoint_goes_into_the_config_that_it_was_trained_with(tiny_config, checkpoint):
    assert load_weights(build(load_config(tiny_config)), checkpoint)['recipe']['padding'] == 'symmetric'


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        ({'model.backbone.padding': 'same'}, 'padding=same instead of symmetric'),
        ({'model.backbone.act_cfg.type': 'ReLU'}, 'act_cfg='),
        ({'model.data_preprocessor.std': [255.0] * 3}, 'std='),
    ],
)
def test_a_checkpoint_is_not_used_with_another_padding_or_preprocessing(
    tiny_config, checkpoint, options, complaint
):
    with pytest.raises(InputError, match='was not trained with this config') as caught:
        load_weights(build(load_config(tiny_config, options)), checkpoint)
    assert complaint in str(caught.value)


def test_a_second_stage_is_as_the_backbone_is(tmp_path):
    """A shared head of another padding than it was trained with took a quarter of the AP, without a word."""
    narrow = dict.fromkeys(('model.backbone.widen_factor', 'model.roi_head.shared_head.widen_factor'), 0.25)
    narrow |= {'model.rpn_head.in_channels': 128, 'model.roi_head.bbox_roi_extractor.out_channels': 128}
    narrow |= {'model.roi_head.bbox_head.in_channels': 256}
    config = 'configs/detection/faster_rcnn_mbv1_300_bccd.py'
    cfg = load_config(config, narrow)
    use_options = {'model.roi_head.shared_head.padding': 'symmetric'}
    model = build(cfg)
    meta = dict(recipe=dataclasses.asdict(recipe_of(model, 'run')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'epoch_1.pth')
    load_weights(build(load_config(config, narrow)), tmp_path / 'epoch_1.pth')
    with pytest.raises(InputError, match=r'roi_head.shared_head.padding=symmetric instead of same'):
        load_weights(build(load_config(config, narrow | use_options)), tmp_path / 'epoch_1.pth')
    with pytest.raises(InputError, match=r'the shared head is not as its backbone: .*padding=symmetric'):
        train(load_config(config, narrow | use_options, work_dir=str(tmp_path / 'run')))
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('half', [False, True])
def test_a_published_model_is_the_checkpoints(tiny_config, checkpoint, tmp_path, half):
    weights = published(load_config(tiny_config), checkpoint, half)
    assert weights.kind == 'detector'
    write_weights(weights, tmp_path / 'p.safetensors')
    model = build(load_config(tiny_config))
    meta = load_weights(model, tmp_path / 'p.safetensors')
    assert meta['dataset_meta']['classes'] == ('a', 'b', 'c', 'd', 'e')
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    for name, tensor in model.state_dict().items():
        if not name.endswith('tracked'):
            expected = state[name].half().float() if half else state[name]
            assert torch.equal(tensor, expected), name
    assert all(t.dtype == (torch.float16 if half else torch.float32) for t in weights.state.values())


def test_a_value_too_large_for_half_precision_is_an_error(tiny_config, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['backbone.rows.0.bn.running_var'][0] = 1e6
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match=r'not finite in float16: backbone\.rows\.0\.bn\.running_var'):
        published(load_config(tiny_config), checkpoint, half=True)
