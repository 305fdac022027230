"""Networks of attributes as objects, and the verbs that print, draw and compare them."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from support.project import ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.face.age_gender import MALE_FROM, gender_of
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.inference.face_attributes import AttributeEstimator, FaceAttributes
from mbv1_backbone.training import load_config, published
from mbv1_backbone.weights import write_weights

FACES = ROOT / 'configs' / 'face'
BASES = dict(soft='attributes_mbv1_0.25-128_lfw.py', ages='age_gender_race_mbv1_0.25-128_utkface.py')
SMALL = """
_base_ = {base!r}
model = dict({model}, data_preprocessor=dict(input_size=32))
train_cfg = dict(max_epochs=3)
"""


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Config and checkpoint of each kind, with random weights."""
    folder, found = tmp_path_factory.mktemp('networks'), {}
    for kind, model in (('soft', 'num_attributes=2'), ('ages', 'num_ages=50')):
        config, checkpoint = folder / f'{kind}.py', folder / f'{kind}.pth'
        config.write_text(SMALL.format(base=str(FACES / BASES[kind]), model=model))
        use_scope('mmengine')
        network = MODELS.build(Config.fromfile(config).model)
        meta = dict(dataset_meta=dict(classes=['Smiling', 'Bald'])) if kind == 'soft' else {}
        torch.save(dict(state_dict=network.state_dict(), meta=meta), checkpoint)
        found[kind] = str(config), str(checkpoint), network.eval()
    return found


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f'{number}.png')
    return folder


def prepared(network, image):
    """An image as the network saw it in training, by the steps of the config."""
    channels = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)  # B, G, R
    return network.data_preprocessor(dict(inputs=[channels]))['inputs']


def test_an_estimator_says_what_its_network_says(networks):
    image = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    config, checkpoint, network = networks['soft']
    [found] = AttributeEstimator.load(config, checkpoint).estimate([image])
    with torch.inference_mode():
        wanted = network(prepared(network, image)).sigmoid()[0].tolist()
    assert found.attributes == pytest.approx(dict(zip(('Smiling', 'Bald'), wanted, strict=True)), abs=1e-5)
    config, checkpoint, network = networks['ages']
    [found] = AttributeEstimator.load(config, checkpoint).estimate([image])
    with torch.inference_mode():
        said = network(prepared(network, image))
    assert found.years == pytest.approx(said.years.item(), abs=1e-3)
    assert found.male == pytest.approx(said.male.item(), abs=1e-5)
    assert list(found.races.values()) == pytest.approx(said.races[0].tolist(), abs=1e-5)
    assert found.gender == ('male' if said.male.item() > 0.5 else 'female')


@pytest.mark.parametrize('kind', ['soft', 'ages'])
def test_published_weights_need_no_config(kind, networks, tmp_path):
    config, checkpoint, _ = networks[kind]
    write_weights(published(load_config(config), checkpoint), tmp_path / 'p.safetensors')
    image = np.random.default_rng(2).integers(0, 255, (40, 40, 3), np.uint8)
    ours = AttributeEstimator.load(tmp_path / 'p.safetensors').estimate([image])
    assert ours == AttributeEstimator.load(config, checkpoint).estimate([image])


def test_other_networks_are_refused(networks, tmp_path):
    config, checkpoint, _ = networks['soft']
    with pytest.raises(InputError, match='needs a checkpoint'):
        AttributeEstimator.load(config)
    with pytest.raises(InputError, match='goes with a config only'):
        AttributeEstimator.load(checkpoint, checkpoint)
    with pytest.raises(
        InputError, match='not a network of attributes; a checkpoint of a run needs its config'
    ):
        AttributeEstimator.load(checkpoint)
    with pytest.raises(InputError, match='not one of AgeGenderRaceModel, FaceAttributeModel, but FaceEmbedd'):
        AttributeEstimator.load(str(FACES / 'arcface_mbv1_0.25-112.py'), checkpoint)


def test_what_is_said_in_words():
    face = FaceAttributes(
        34.4, 0.25, 'female', dict(White=0.2, Black=0.8), dict(Bald=0.4, Young=0.6, Hat=0.9)
    )
    gender = 'female (P(male) 0.25, male from 0.50)'
    assert face.parts() == ['34 years', gender, 'Black 0.80', 'Hat 0.90', 'Young 0.60']
    assert face.as_json()['male_probability'] == 0.25
    assert FaceAttributes(attributes=dict(Bald=0.1)).parts() == []
    assert FaceAttributes(attributes=dict(Bald=0.1)).as_json() == dict(attributes=dict(Bald=0.1))


def test_a_bound_of_its_own_is_said():
    face = FaceAttributes(20.0, 0.54, gender_of(0.54), male_from=MALE_FROM)
    assert face.parts() == ['20 years', 'female (P(male) 0.54, male from 0.60)']  # not "female 0.46"
    assert face.as_json() == dict(
        years=20.0, gender='female', male_probability=0.54, male_from_probability=0.6
    )


def verb(*words):
    return main(['faces', *map(str, words)])


def test_the_verb_prints_writes_and_draws(networks, photos, tmp_path, capsys):
    config, checkpoint, _ = networks['soft']
    out, pictures = tmp_path / 'a.json', tmp_path / 'pictures'
    words = ('--model', config, '--checkpoint', checkpoint, '--detector', 'none', '--score-thr', 0)
    assert verb('attributes', photos, *words, '--out', out, '--out-dir', pictures) == 0
    lines = capsys.readouterr().out.splitlines()
    written = json.loads(out.read_text())
    assert [line.split(': ')[0] for line in lines] == [str(photos / f'{n}.png') for n in range(3)]
    for line, image in zip(lines, written, strict=True):
        [face] = image['faces']
        assert set(face['attributes']) == {'Smiling', 'Bald'}
        assert f'Bald {face["attributes"]["Bald"]:.2f}' in line
    assert sorted(path.name for path in pictures.iterdir()) == ['0.png', '1.png', '2.png']
    drawn = read_image(pictures / '0.png')
    assert (drawn[:, 310:] < 200).any()  # words, on white


def test_a_picture_that_is_taken_for_a_face_is_said(networks, photos, monkeypatch, capsys):
    config, checkpoint, _ = networks['soft']
    nothing = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    finder = FaceFinder(lambda image: nothing, 'all', crops=True)
    monkeypatch.setattr('mbv1_backbone.inference.face_detectors.named_finder', lambda *_: finder)
    Image.new('RGB', (200, 200)).save(photos / '0.png')
    Image.new('RGB', (1, 1)).save(photos / '1.png')
    assert (
        verb('attributes', photos / '0.png', photos / '1.png', '--model', config, '--checkpoint', checkpoint)
        == 0
    )
    first, second = capsys.readouterr().out.splitlines()
    assert 'face 1 (no face is found, and the whole picture taken for one): ' in first
    assert second.endswith('1.png: no face found: the image is 1 x 1, and a face has 20 pixels or more')


def test_labels_are_compared_with(networks, photos, tmp_path, capsys):
    config, checkpoint, _ = networks['ages']
    estimator = AttributeEstimator.load(config, checkpoint)
    faces = estimator.estimate([read_image(photos / f'{n}.png') for n in range(3)])
    (photos / 'l.csv').write_text(
        'file,age,gender,race\n' + ''.join(f'{n}.jpg,{20 + n},0,2\n' for n in range(3))
    )
    words = (
        '--labels',
        photos / 'l.csv',
        '--model',
        config,
        '--checkpoint',
        checkpoint,
        '--detector',
        'none',
    )
    assert verb('attributes', *words, '--out', tmp_path / 'a.json') == 0
    figures = json.loads((tmp_path / 'a.json').read_text())['figures']
    assert figures['age_error'] == pytest.approx(
        np.mean([abs(face.years - 20 - n) for n, face in enumerate(faces)]), abs=0.01
    )
    assert figures['gender_accuracy'] == np.mean([face.gender == 'male' for face in faces])
    assert f'age error: {figures["age_error"]:.2f} years' in capsys.readouterr().out
    config, checkpoint, _ = networks['soft']
    words = (
        '--labels',
        photos / 'l.csv',
        '--model',
        config,
        '--checkpoint',
        checkpoint,
        '--detector',
        'none',
    )
    assert verb('attributes', *words) == 2
    assert 'error: --labels: the network has no age' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('attributes',), 'give photographs, or --labels'),
        (('attributes', '{p}', '--root', '{p}'), '--root is of the files of --labels'),
        (('attributes', '{p}', '--labels', 'l.csv'), '--labels names the photographs'),
        (('attributes', '{p}', '--model', 'no.safetensors', '--detector', 'none'), 'no.safetensors'),
        (('attributes', 'nothing.jpg'), 'nothing.jpg'),
        (('attribute-costs', '{p}'), 'not the work folder of a training: it has 0 configs'),
    ],
)
def test_verbs_refuse_in_one_line(words, message, photos, capsys):
    assert verb(*(word.format(p=photos) for word in words)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len([line for line in said.splitlines() if line.startswith('error: ')]) == 1


def made_up_run(folder, width, hard, values):
    """A work folder as a training leaves it."""
    (folder / 'x' / 'vis_data').mkdir(parents=True)
    text = SMALL.format(base=str(FACES / BASES['soft']), model=f'backbone=dict(widen_factor={width})')
    (folder / 'a.py').write_text(f'{text}train_dataloader = dict(dataset=dict(hard={hard}))\n')
    lines = [json.dumps({'attributes/mAP': value, 'step': epoch}) for epoch, value in enumerate(values, 1)]
    (folder / 'x' / 'vis_data' / 'scalars.json').write_text('\n'.join(lines))
    return folder


def test_runs_are_compared_by_their_last_epoch(tmp_path, capsys):
    runs = [
        made_up_run(tmp_path / 'a', 0.5, False, (0.9, 0.5, 0.6)),
        made_up_run(tmp_path / 'b', 0.25, False, (0.1, 0.2, 0.55)),
        made_up_run(tmp_path / 'c', 0.25, True, (0.1, 0.2, 0.45)),
    ]
    assert verb('attribute-costs', *runs, '--out-dir', tmp_path / 'out') == 0
    rows = json.loads((tmp_path / 'out' / 'attribute_costs.json').read_text())
    assert [(row['name'], row['targets'], row['mean_ap'], row['epochs']) for row in rows] == [
        ('0.25-32', 'labels', 0.45, 3),
        ('0.25-32', 'probabilities', 0.55, 3),
        ('0.5-32', 'probabilities', 0.6, 3),
    ]
    assert rows[0]['mult_adds'] < rows[2]['mult_adds']
    assert (read_image(tmp_path / 'out' / 'attribute_costs.png') < 200).any()
    assert '0.6000' in capsys.readouterr().out
    (runs[0] / 'x' / 'vis_data' / 'scalars.json').write_text('{"attributes/mAP": 0.5, "step": 2}')
    assert verb('attribute-costs', *runs) == 2
    assert 'the training has not ended: 2 of 3 epochs' in capsys.readouterr().err
