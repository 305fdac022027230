"""The model zoo: every entry's file, card and figures, and names where tools take checkpoints."""

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from support.project import ROOT

from mbv1_backbone import MobileNetV1
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.evaluation.protocols import Embeddings, evaluate_pairs, person_of, read_pairs
from mbv1_backbone.face.files import locate
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.training import load_weights
from mbv1_backbone.weights import import_weights, read_weights
from mbv1_backbone.weights.zoo import config_of, find_checkpoint, get, zoo_folder, zoo_models

NAMES = list(zoo_models())


def test_the_zoo_is_where_the_index_says():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert [ROOT / path for path in index['Import']] == [zoo_folder() / 'metafile.yml']
    assert NAMES
    total = sum(path.stat().st_size for path in zoo_folder().rglob('*.safetensors'))
    assert total < 52e6


@pytest.mark.parametrize('name', NAMES)
def test_a_model_has_its_card_config_and_fingerprint(name):
    model = zoo_models()[name]
    path = find_checkpoint(name)
    assert path == get(name)
    assert config_of(name) == ROOT / model['Config']
    weights = read_weights(path)
    card = (path.parent / 'README.md').read_text()
    assert weights.fingerprint in card
    assert model['Config'] in card
    for result in model['Results']:
        for value in result['Metrics'].values():
            assert str(value) in card


@pytest.mark.parametrize('name', NAMES)
def test_a_model_fits_its_config(name):
    cfg = Config.fromfile(str(ROOT / zoo_models()[name]['Config']))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(dict(cfg.model, _scope_=cfg.default_scope))
    meta = load_weights(model, name)
    if hasattr(model, 'bbox_head'):
        assert len(meta['dataset_meta']['classes']) == model.bbox_head.num_classes
    state = read_weights(find_checkpoint(name)).state
    for key, tensor in model.state_dict().items():
        if key in state:
            assert torch.equal(tensor, state[key].float())


def test_a_backbone_starts_from_a_zoo_name():
    url = 'zoo://ssd_mbv1_0.75_tf_bccd'
    weights = import_weights(url)
    init_cfg = dict(type='Pretrained', checkpoint=url, prefix='backbone.')
    net = MobileNetV1(init_cfg=init_cfg, **weights.recipe.backbone())
    net.init_weights()
    assert torch.equal(net.rows['0'].conv.weight, weights.state['backbone.rows.0.conv.weight'].float())


def test_an_unknown_name_says_what_lists_the_zoo():
    with pytest.raises(InputError, match=r'no such model in the zoo \(mbv1 zoo lists them\)'):
        find_checkpoint('resnet')


FACES = [name for name in NAMES if 'Face' in zoo_models()[name]['Results'][0]['Task']]


@pytest.mark.parametrize('name', FACES)
def test_a_face_model_has_the_accuracy_of_its_card(name, shared):
    """On people whom it has not seen, and within 8 points of its teacher where it is the largest."""
    embedder = FaceEmbedder.load(name)
    lfw = shared / ('lfw' if embedder.network.spec.recipe['gray'] else 'lfw_color')
    pairs = read_pairs(lfw / 'dev_pairs.csv')
    teacher = evaluate_pairs(Embeddings.read(shared / 'lfw/teacher_dev.npz'), pairs)[0]['accuracy']
    files = sorted(set(pairs.files.ravel()))
    found = embedder.embed([locate(lfw / 'images', file, person_of(file)) for file in files])
    assert found.failures == {}
    accuracy = evaluate_pairs(Embeddings(files, found.vectors), pairs)[0]['accuracy']
    assert accuracy == pytest.approx(zoo_models()[name]['Results'][0]['Metrics']['accuracy'], abs=0.006)
    assert '1.0-160' not in name or accuracy > teacher - 0.08


@pytest.mark.parametrize('size', ['1.0-160', '1.0-128', '0.75-160', '0.75-128', '0.25-112'])
def test_a_network_that_left_the_zoo_says_which_is_in_its_place(size):
    said = rf'_{size}_distill: no such model in the zoo any more: facenet_mbv1_{size}_color is in its place'
    with pytest.raises(InputError, match=said):
        get(f'facenet_mbv1_{size}_distill')
    assert get(f'facenet_mbv1_{size}_color').is_file()
