"""Configs of ImageNet build the networks that they name, at the paper's cost; all see the same pixels."""

import logging

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.common.resources import config_names
from mbv1_backbone.models.complexity import count_image_classifier, total
from mbv1_backbone.training import load_config
from mbv1_backbone.training.checks import check_training
from mbv1_backbone.training.classifier_input import classifier_crop, classifier_size

ALL = [name for name in config_names() if name.startswith('classification/')]
CONFIGS = [name for name in ALL if 'imagenet' in name]
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
    crop = dict(MiddleSquare='size', RandomResizedCrop='scale')
    sizes = {
        step[crop[step.type]]
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        for step in loader.dataset.pipeline
        if step.type in crop
    }
    assert sizes == {size}
    assert classifier_crop(cfg, size) == 0.875  # as ImageNet is evaluated: 224 of 256
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


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """Fine stripes, which resizing without antialiasing turns into coarse ones; it lies on its side."""
    rows, columns = np.mgrid[:401, :613]
    pixels = np.stack([(rows * 3 + columns * k) % 256 for k in (5, 7, 11)], 2).astype(np.uint8)
    path = tmp_path_factory.mktemp('photo') / 'a.png'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize('name', ALL)
def test_every_config_tests_on_the_pixels_that_all_verbs_see(name, photo):
    cfg = load_config(name)
    init_default_scope('mmpretrain')
    place = dict(img_path=str(photo), latitude=0.0, longitude=0.0, gt_label=0)
    side = classifier_size(cfg)[0]
    seen = middle_square(read_image(photo), side, classifier_crop(cfg, side))
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        packed = Compose(loader.dataset.pipeline)(dict(place))
        assert (packed['inputs'].numpy()[::-1].transpose(1, 2, 0) == seen).all()


@pytest.mark.parametrize('name', ALL)
def test_what_is_trained_on_is_read_and_resized_in_the_same_way(name):
    read, *steps = load_config(name).train_dataloader.dataset.pipeline
    assert read.type == 'LoadPhoto'
    resizes = [step for step in steps if 'Resize' in step.type]
    assert all(step.get('backend') == 'pillow' for step in resizes)


def test_a_pipeline_of_ones_own_is_said_to_be_seen_otherwise(caplog):
    steps = [dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=256), dict(type='CenterCrop')]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    with caplog.at_level(logging.WARNING):
        assert classifier_crop(cfg, 224) == 0.875
    assert 'has no MiddleSquare' in caplog.text


def test_a_classifier_is_counted_at_the_size_that_it_is_tested_at(capsys):
    assert main(['complexity', 'mbv1_0.25-128_imagenet']) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ['13.570', 'M']
