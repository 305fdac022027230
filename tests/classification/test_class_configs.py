"""Every config of ImageNet builds the network that its name says, at the paper's cost."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.resources import config_names
from mbv1_backbone.models.complexity import count_image_classifier, total
from mbv1_backbone.training import load_config
from mbv1_backbone.training.checks import check_training

CONFIGS = [name for name in config_names() if name.startswith('classification/') and 'imagenet' in name]
# Mult-adds / 1e6 and params / 1e6 as the paper prints them (Tables 4 to 9).
PAPER = {
    'mbv1_1.0-224': (569, 4.2),
    'mbv1_full_1.0-224': (4866, 29.3),
    'mbv1_shallow_1.0-224': (307, 2.9),
    'mbv1_0.75-224': (325, 2.6),
    'mbv1_0.5-224': (149, 1.3),
    'mbv1_0.25-224': (41, 0.5),
    'mbv1_1.0-192': (418, 4.2),
    'mbv1_1.0-160': (290, 4.2),
    'mbv1_1.0-128': (186, 4.2),
    'mbv1_0.5-160': (76, 1.32),
}


def of_name(name):
    """The part of a name that says the network, its width and its resolution."""
    network = name.partition('/')[2].partition('_imagenet')[0]
    width, size = network.rpartition('_')[2].split('-')
    return network, float(width), int(size)


def test_the_papers_networks_are_there():
    assert {of_name(name)[0] for name in CONFIGS} >= PAPER.keys()
    assert {of_name(name)[1:] for name in CONFIGS} == {
        (width, size) for width in (1.0, 0.75, 0.5, 0.25) for size in (224, 192, 160, 128)
    }


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_is_what_its_name_says(name):
    cfg = load_config(name)
    check_training(cfg)
    network, width, size = of_name(name)
    crop = dict(CenterCrop='crop_size', RandomResizedCrop='scale')
    sizes = {
        step[crop[step.type]]
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        for step in loader.dataset.pipeline
        if step.type in crop
    }
    assert sizes == {size}
    [edge] = {s.scale for s in cfg.test_dataloader.dataset.pipeline if s.type == 'ResizeEdge'}
    assert size / edge == pytest.approx(0.875, abs=0.003)  # as ImageNet is evaluated: 224 of 256
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, _scope_='mmpretrain')).eval()
    assert model.backbone.widen_factor == width
    with torch.inference_mode():
        images = model.data_preprocessor(dict(inputs=torch.tensor([[[[255]], [[0]], [[0]]]]).byte()))
    assert images['inputs'].flatten().tolist() == pytest.approx([-1, -1, 1])  # BGR bytes to RGB in [-1, 1]
    if network in PAPER:
        mult_adds, params = total(count_image_classifier(model, size, size))
        assert mult_adds / 1e6 == pytest.approx(PAPER[network][0], abs=1.5)
        assert params / 1e6 == pytest.approx(PAPER[network][1], abs=0.06)


def test_a_classifier_is_counted_at_the_size_that_it_is_tested_at(capsys):
    assert main(['complexity', 'mbv1_0.25-128_imagenet']) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ['13.570', 'M']
