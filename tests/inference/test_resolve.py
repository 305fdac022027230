"""A source is read once, and one decision says what it is."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import safetensors
import torch
from mmdet.datasets import CocoDataset
from support.project import ROOT

from mbv1_backbone import load
from mbv1_backbone.common.coco import COCO_CLASSES
from mbv1_backbone.common.errors import InputError, Mbv1Error
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.training.checkpoint import weights_fingerprint
from mbv1_backbone.weights import Weights, import_weights, read_weights, store as weights_store, write_weights
from mbv1_backbone.weights.zoo import find_checkpoint, zoo_models

SSD = 'ssd_mbv1_0.75_tf_bccd'
FACES = 'facenet_mbv1_0.25-112_color'
CONFIG = str(ROOT / 'configs' / 'detection' / f'{SSD}.py')


@pytest.fixture
def reads(monkeypatch):
    """Counts files that are opened for their tensors, and SHA-256 passes over tensors."""
    found = Counter()
    opened, loaded, sha256 = safetensors.safe_open, torch.load, hashlib.sha256

    def safe_open(path, *args, **kwargs):
        found['read'] += 1
        return opened(path, *args, **kwargs)

    def torch_load(*args, **kwargs):
        found['read'] += 1
        return loaded(*args, **kwargs)

    class Hashes:
        @staticmethod
        def sha256(*args):
            found['pass'] += 1
            return sha256(*args)

    monkeypatch.setattr(weights_store, 'safe_open', safe_open)
    monkeypatch.setattr(torch, 'load', torch_load)
    monkeypatch.setattr(weights_store, 'hashlib', Hashes)
    return found


@pytest.mark.parametrize('source', [(FACES,), (SSD,), (CONFIG, SSD)])
def test_weights_are_read_once(reads, source):
    load(*source, backend='onnxruntime', cache=False)
    # One pass holds the file to its fingerprint, the other gives the network's: the zoo's files are float16.
    assert reads == {'read': 1, 'pass': 2}


def test_a_checkpoint_is_read_once(reads, tmp_path):
    model = resolve(FACES).model
    recipe = resolve(FACES).recipe
    content = dict(state_dict=model.state_dict(), meta=dict(recipe=vars(recipe)))
    torch.save(content, tmp_path / 'run.pth')
    reads.clear()
    embedder = load(tmp_path / 'run.pth', backend='torch', kind='embedder')
    assert reads == {'read': 1, 'pass': 1}
    assert embedder.fingerprint == weights_fingerprint(model)


@pytest.mark.parametrize('name', list(zoo_models()))
def test_every_name_of_the_zoo_is_enough(name):
    found = resolve(name)
    task = zoo_models()[name]['Results'][0]['Task']
    assert found.kind == {'Object Detection': 'detector', 'Face Verification': 'embedder'}[task]
    assert found.checkpoint.path == find_checkpoint(name)
    assert (found.config is not None) == (found.kind == 'detector')


def test_a_detector_is_loaded_by_its_name_alone(shared):
    image = next((shared / 'bccd' / 'JPEGImages').glob('*.jpg'))
    by_name, by_config = load(SSD, kind='detector'), load(CONFIG, SSD, kind='detector')
    assert by_name.classes == by_config.classes == ('Platelets', 'RBC', 'WBC')
    [one], [other] = by_name.detect(image), by_config.detect(image)
    assert len(one.above(0.3)) > 3
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_what_weights_are_of(tmp_path, shared):
    classifier = import_weights(next((shared / 'weights').glob('mobilenet_v1_0.25*.tflite')))
    write_weights(classifier, tmp_path / 'c.safetensors')
    with_labels = shared / 'weights' / 'mobilenet_v1_0.75_192_quant.tflite'  # in an archive at its end
    assert resolve(with_labels).kind == 'classifier'
    assert resolve(tmp_path / 'c.safetensors').kind == 'classifier'
    state = {name: tensor for name, tensor in classifier.state.items() if name.startswith('rows.')}
    write_weights(Weights(state, classifier.recipe), tmp_path / 'b.safetensors')
    backbone = resolve(tmp_path / 'b.safetensors')
    assert backbone.kind == 'backbone'
    with pytest.raises(InputError, match='not a detector or an embedder, but a backbone'):
        backbone.expect('detector', 'embedder')
    detector = read_weights(find_checkpoint(SSD))
    write_weights(detector, tmp_path / 'd.safetensors')
    with pytest.raises(InputError, match=r'd\.safetensors: a detector needs its config before it'):
        resolve(tmp_path / 'd.safetensors')


def test_a_classifier_of_a_run_is_not_taken_for_an_embedder(tmp_path):
    """Both have ``head.fc``; the run's config, which the checkpoint holds, tells them apart."""
    state = {'backbone.rows.0.conv.weight': torch.zeros(8, 3, 3, 3), 'head.fc.weight': torch.zeros(10, 256)}
    meta = dict(recipe=vars(Recipe('run', 0.25)), cfg="model = dict(type='ImageClassifier')")
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'run.pth')
    with pytest.raises(InputError, match='needs its config before it'):
        resolve(tmp_path / 'run.pth')


def published(path, kind=None, classes=None, names=('head.fc.weight',), **recipe):
    state = {name: torch.zeros(10, 256) for name in names}
    state['backbone.rows.0.conv.weight'] = torch.zeros(8, 3, 3, 3)
    write_weights(Weights(state, Recipe('run', 0.25, **recipe), classes=classes, kind=kind), path)
    return path


def test_published_weights_say_their_kind(tmp_path):
    path = tmp_path / 'w.safetensors'
    assert resolve(published(path, 'embedder')).kind == 'embedder'
    for of_faces in (
        dict(input_size=112),
        dict(gray=True),
        dict(names=('head.fc.weight', 'head.norm.weight')),
    ):
        assert resolve(published(path, **of_faces)).kind == 'embedder'  # older files do not say it
    for of_classes in (dict(kind='classifier', input_size=160), dict(classes=('a', 'b'))):
        with pytest.raises(InputError, match='a classifier of a run needs its config before it'):
            resolve(published(path, **of_classes))
    with pytest.raises(InputError, match=r'w\.safetensors: does not say whether it is of an embedder'):
        resolve(published(path))


BAD = {
    'a list': [1, 2],
    'no dict of tensors': dict(state_dict=5),
    'integer keys': {1: torch.zeros(1)},
    'a value': {'rows.0.conv.weight': 'x'},
    'odd meta': dict(state_dict={'a': torch.zeros(1)}, meta=[1]),
    'an odd recipe': dict(
        state_dict={'backbone.rows.0.conv.weight': torch.zeros(1)}, meta=dict(recipe=dict(depth=1))
    ),
}


@pytest.mark.parametrize('name', BAD)
def test_a_pth_of_something_else_is_one_line(tmp_path, name):
    torch.save(BAD[name], tmp_path / 'bad.pth')
    with pytest.raises(InputError, match=r'bad\.pth: .*(not a state dict|its meta|its recipe)') as caught:
        resolve(tmp_path / 'bad.pth')
    assert '\n' not in str(caught.value)


def test_tensorflows_checkpoints_are_known_by_their_prefix(tmp_path):
    (tmp_path / 'm.ckpt.index').write_text('damaged')
    for function in (resolve, load):
        with pytest.raises(Mbv1Error, match=r'(?i)tensorflow'):
            function(tmp_path / 'm.ckpt')


def test_cocos_names():
    assert tuple(CocoDataset.METAINFO['classes']) == COCO_CLASSES


def test_an_exported_file_is_not_exported_again(tmp_path):
    with pytest.raises(InputError, match=r'x\.onnx: an exported file has no weights to read'):
        resolve(tmp_path / 'x.onnx')
