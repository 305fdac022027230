"""Training, evaluating, exporting and using a classifier by the command line; and what is refused."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.photographs import COLOURS, folder_of_classes, small_config

from mbv1_backbone import MobileNetV1, training
from mbv1_backbone.classification import draw_predictions
from mbv1_backbone.classification.trade_off import Measured, draw_trade_off
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference import load
from mbv1_backbone.inference.exportable import Exportable, exportable
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.store import Weights, write_weights

# An optimizer and batch norms that settle in 30 steps.
QUICK = """
model['backbone']['norm_cfg'] = dict(type='BN', eps=0.001, momentum=0.3)
optim_wrapper = dict(_delete_=True, optimizer=dict(type='AdamW', lr=3e-3))
train_cfg = dict(max_epochs=10, val_interval=10)
"""


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    return folder_of_classes(tmp_path_factory.mktemp('pictures'))


@pytest.fixture(scope='module')
def trained(pictures, tmp_path_factory):
    """A config that was trained until it knows the colours, and its checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    config = small_config(folder / 'colours.py', pictures)
    config.write_text(config.read_text() + QUICK)
    assert run('train', config, '--work-dir', folder / 'run', '--no-amp') == 0
    return config, folder / 'run' / 'epoch_10.pth'


def run(*words):
    return main([str(word) for word in words])


def refused(capsys, *words):
    """The one line of a verb that refuses."""
    capsys.readouterr()
    assert run(*words) == 2
    said = capsys.readouterr()
    [line] = [line for line in said.err.splitlines() if line.startswith('error: ')]
    return line


def test_what_was_trained_is_evaluated_by_its_config(trained, capsys, tmp_path):
    config, checkpoint = trained
    assert run('test', config, checkpoint, '--work-dir', tmp_path) == 0
    said = capsys.readouterr().out
    assert 'accuracy/top1' in said
    assert accuracy(said) > 60


def test_it_says_classes_by_name(trained, pictures, capsys, tmp_path):
    config, checkpoint = trained
    photos = [pictures / 'val' / name / '0.png' for name in COLOURS]
    out = tmp_path / 'out'
    assert (
        run('classify', 'predict', config, checkpoint, *photos, '--out-dir', out, '--backend', 'torch') == 0
    )
    said = capsys.readouterr().out
    found = json.loads((out / 'predictions.json').read_text())
    assert [image['file_name'] for image in found] == [str(photo) for photo in photos]
    names = [[c['category_name'] for c in image['predictions']] for image in found]
    assert all(sorted(of_image) == sorted(COLOURS) for of_image in names)
    assert sum(of_image[0] == colour for of_image, colour in zip(names, COLOURS, strict=True)) >= 2
    for image in found:
        scores = [c['score'] for c in image['predictions']]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-4)
        assert f'{image["file_name"]}: {image["predictions"][0]["category_name"]}' in said
    assert len(list(out.glob('*.png'))) == 3


def test_the_crop_is_that_of_the_evaluation(trained, pictures):
    """32 of 36 pixels of the shorter side, as the test pipeline cuts them."""
    classifier = load(*trained, kind='classifier', backend='torch')
    assert classifier.network.spec.crop == pytest.approx(32 / 36)
    image = np.zeros((90, 90, 3), np.uint8)
    image[:5] = image[-5:] = image[:, :5] = image[:, -5:] = 255  # outside of the middle 80
    black = classifier.classify(np.zeros((90, 90, 3), np.uint8))
    np.testing.assert_allclose(classifier.classify(image), black, atol=0.02)


def test_a_classifier_says_its_classes(trained):
    assert load(*trained, kind='classifier', backend='torch').classes == tuple(sorted(COLOURS))


def test_places_are_pointed_to_locate_and_not_compared(trained, pictures, tmp_path, monkeypatch, capsys):
    """A network of places printed tokens of cells, and its accuracy stood beside that of others."""

    def of_places(found, *options):
        graph, spec = exportable(found, *options)
        return Exportable(graph, replace(spec, classes=('1', '3', '5'), places=((0.0, 0.0),) * 3))

    for module in ('exportable', 'loading', 'pytorch'):
        monkeypatch.setattr(f'mbv1_backbone.inference.{module}.exportable', of_places, raising=False)
    (tmp_path / 'list.txt').write_text('blue/0.png 0')
    words = ('--images', pictures / 'val', '--labels', tmp_path / 'list.txt')
    line = refused(capsys, 'classify', 'compare', f'one={trained[0]}:{trained[1]}', *words)
    assert 'one: its classes are cells of the earth' in line
    assert run('classify', 'predict', *trained, pictures / 'val' / 'red' / '0.png', '--backend', 'torch') == 0
    assert 'mbv1 locate says where they are' in capsys.readouterr().out


def test_an_exported_classifier_knows_its_classes(trained, pictures, tmp_path):
    config, checkpoint = trained
    images = sorted((pictures / 'val').rglob('*.png'))[::3]
    words = ('--to', 'onnx', '--out', tmp_path / 'c.onnx', '--images', *images)
    assert run('export', config, checkpoint, *words) == 0
    classifier = load(tmp_path / 'c.onnx', kind='classifier', backend='onnxruntime')
    [found, *_] = classifier.stream(images, top=2)
    assert {c.name for c in found.classes} < set(COLOURS)
    assert classifier.network.spec.crop == pytest.approx(32 / 36)


def test_the_other_recipe_trains_too(pictures, tmp_path, capsys):
    """Dropout, RandAugment's neighbours, label smoothing and averaged weights."""
    config = small_config(tmp_path / 'c.py', pictures, 'mbv1_1.0-224_imagenet_timm')
    short = ('--cfg-options', 'custom_hooks.3.begin_epoch=0')
    assert run('train', config, '--work-dir', tmp_path / 'run', '--no-amp', *short) == 0
    assert 'accuracy/top1' in capsys.readouterr().out
    assert run('test', config, tmp_path / 'run' / 'epoch_1.pth', '--work-dir', tmp_path / 'test') == 0


@pytest.mark.slow
@pytest.mark.parametrize('base', ['mbv1_full_1.0-224_imagenet', 'mbv1_shallow_1.0-224_imagenet'])
def test_variants_train(base, pictures, tmp_path):
    config = small_config(tmp_path / 'c.py', pictures, base)
    assert run('train', config, '--work-dir', tmp_path / 'run', '--no-amp') == 0


MISTAKES = {
    'no classes': ({}, 3, 'Found 0 files'),
    'one image': (dict(red=1), 1, 'has 1 image, training needs two or more'),
    'one class': (dict(red=4), 1, r"has one class \('red'\)"),
    'a class without an image': (dict(red=2, green=2, blue=0), 3, "no image of 'blue'"),
    'classes of another number': (dict(red=2, green=2), 3, 'num_classes=3, but .* has 2 classes'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_in_the_pictures_is_one_line(name, tmp_path, capsys):
    counts, number, message = MISTAKES[name]
    if counts:
        data = folder_of_classes(tmp_path / 'data', counts)
    else:
        data = tmp_path / 'data'
        (data / 'train').mkdir(parents=True)
        (data / 'val').mkdir()
    config = small_config(tmp_path / 'c.py', data, number=number)
    line = refused(capsys, 'train', config, '--work-dir', tmp_path / 'run', '--no-amp')
    assert re.search(message, line), line


def test_other_classes_in_the_evaluation_are_refused(pictures, tmp_path, capsys):
    data = tmp_path / 'data'
    shutil.copytree(pictures, data)
    (data / 'val' / 'green').rename(data / 'val' / 'teal')
    config = small_config(tmp_path / 'c.py', data)
    line = refused(capsys, 'train', config, '--work-dir', tmp_path / 'run', '--no-amp')
    assert 'the classes of' in line
    assert "'teal'" in line


def test_labels_of_a_list_are_held_to_the_head(pictures, tmp_path, capsys):
    files = sorted(path.relative_to(pictures / 'train') for path in (pictures / 'train').rglob('*.png'))
    (pictures / 'list.txt').write_text('\n'.join(f'{file} {index % 4}' for index, file in enumerate(files)))
    config = small_config(tmp_path / 'c.py', pictures)
    line = refused(
        capsys, 'train', config, '--work-dir', tmp_path / 'run', '--no-amp',
        '--cfg-options', 'train_dataloader.dataset.ann_file=list.txt',
    )  # fmt: skip
    assert 'labels lie in 0..3, must lie in 0..2' in line


def test_images_that_cannot_be_read_are_named(trained, pictures, tmp_path, capsys):
    (tmp_path / 'bad.png').write_text('no picture')
    good = pictures / 'val' / 'red' / '1.png'
    words = ('classify', 'predict', *trained, '--backend', 'torch')
    assert run(*words, tmp_path / 'bad.png', good) == 0
    said = capsys.readouterr().out
    assert f'left out: image {tmp_path / "bad.png"}' in said
    assert f'{good}: ' in said
    assert 'none of 1 images could be read' in refused(capsys, *words, tmp_path / 'bad.png')
    assert 'give its checkpoint and images after it' in refused(capsys, 'classify', 'predict', trained[0])
    assert '--no-pictures is about --out-dir' in refused(capsys, *words, good, '--no-pictures')


def test_another_network_is_no_classifier(pictures, capsys):
    image = pictures / 'val' / 'red' / '1.png'
    line = refused(capsys, 'classify', 'predict', 'facenet_mbv1_1.0-160_color', image)
    assert 'not a classifier, but an embedder' in line


def test_a_photograph_of_imagenet_has_its_name(shared, capsys):
    photo = shared / 'imagenet' / 'images' / 'n01440764_tench.jpg'
    weights = shared / 'weights' / 'mobilenet_v1_0.75_192_quant.tflite'
    assert run('classify', 'predict', weights, photo, '--top', '1', '--backend', 'torch') == 0
    assert f'{photo}: tench ' in capsys.readouterr().out


def test_a_picture_of_one_pixels_width_is_drawn():
    """It was enlarged to 320 pixels, and its height with it."""
    assert draw_predictions(np.zeros((30000, 1, 3), np.uint8), ['a']).shape == (30000 + 22 + 12, 320, 3)
    two_lines = draw_predictions(np.zeros((40, 320, 3), np.uint8), ['a\nb'])  # of a file of someone else's
    assert two_lines.shape == (40 + 22 + 12, 320, 3)
    assert draw_predictions(np.zeros((1000, 4, 3), np.uint8), ['a']).shape == (1280 + 22 + 12, 320, 3)


def test_names_are_drawn_as_they_are_and_apart(tmp_path, monkeypatch):
    """TeX's signs in a name were a traceback; names of equal figures lay upon each other."""
    from matplotlib.axes import Axes

    drawn, plain = [], Axes.annotate

    def annotate(axes, text, xy, **style):
        drawn.append((text, xy, style['xytext']))
        return plain(axes, text, xy, **style)

    monkeypatch.setattr(Axes, 'annotate', annotate)
    points = [Measured('$a_$^', 0.5, None, 1e8, 1e6), Measured('b', 0.5, None, 1e8, 1e6)]
    draw_trade_off(points, 'ours', tmp_path / 'a.png', ())
    assert {text for text, *_ in drawn} == {'$a_$^', 'b'}
    assert len({offset for *_, offset in drawn}) == 2


def test_pictures_show_bars_as_long_as_probabilities():
    image = np.full((100, 400, 3), 90, np.uint8)
    drawn = draw_predictions(image, ['a' * 200, 'b'], [1.0, 0.0])
    assert drawn.shape == (100 + 2 * 22 + 12, 400, 3)
    np.testing.assert_array_equal(drawn[:100], image)
    blue = (drawn[..., 2].astype(int) - drawn[..., 0] > 40)[100:]
    assert blue[:28].any(0).sum() > 380
    assert not blue[30:].any(0)[12:].any()
    assert Image.fromarray(drawn).width == 400


def accuracy(said):
    """The share of right first answers that a verb has printed, in percent."""
    return float(re.search(r'accuracy/top1\D+([\d.]+)', said)[1])


def test_an_exported_classifier_is_evaluated_by_the_config(trained, pictures, tmp_path, capsys):
    images = sorted((pictures / 'val').rglob('*.png'))
    assert run('export', *trained, '--to', 'onnx', '--out', tmp_path / 'c.onnx', '--images', *images) == 0
    figures = []
    for checkpoint in (trained[1], tmp_path / 'c.onnx'):
        capsys.readouterr()
        assert run('test', trained[0], checkpoint, '--work-dir', tmp_path / 'test') == 0
        figures.append(accuracy(capsys.readouterr().out))
    assert figures[0] == pytest.approx(figures[1], abs=200 / 24)  # two pictures, where it runs in bfloat16
    assert min(figures) > 60
    smaller = ('--cfg-options', 'test_dataloader.dataset.pipeline.2.crop_size=24')
    words = ('test', trained[0], tmp_path / 'c.onnx', '--work-dir', tmp_path / 'test')
    line = refused(capsys, *words, *smaller)
    assert (
        'c.onnx: its input is 32 x 32 (height x width), the test pipeline of the config gives 24 x 24' in line
    )


class Session:
    """Of a classifier with seven classes without names."""

    path = 'seven.onnx'
    spec = SimpleNamespace(kind='classifier', size=(32, 32), classes=())

    def run(self, images):
        return (np.zeros((len(images), 7), np.float32),)


def test_an_exported_classifier_of_other_classes_without_names_is_refused(trained, monkeypatch):
    """It was tested, and all predictions were wrong."""
    monkeypatch.setattr('mbv1_backbone.training.run.is_exported', lambda path: True)
    monkeypatch.setattr('mbv1_backbone.training.run.open_session', lambda path: Session())
    cfg = training.load_config(trained[0], work_dir=str(trained[1].parent / 'test'))
    with pytest.raises(InputError, match=r'seven\.onnx: tells 7 classes apart, the config 3 \(model\.head'):
        training.evaluate(cfg, 'seven.onnx')


def test_released_weights_are_evaluated_on_imagenet(shared, tmp_path, capsys):
    """Without their background; about as many are right as of whole middle squares, without the crop."""
    (tmp_path / 'data' / 'meta').mkdir(parents=True)
    (tmp_path / 'data' / 'val').symlink_to(shared / 'imagenet' / 'images')
    lines = (shared / 'imagenet' / 'labels.txt').read_text().splitlines()[:60]
    (tmp_path / 'data' / 'meta' / 'val.txt').write_text('\n'.join(lines))
    source = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite'
    assert run('weights', 'import', source, '--out', tmp_path / 'w.safetensors') == 0
    words = ('--data-root', tmp_path / 'data', '--work-dir', tmp_path / 'test', '--cfg-options')
    options = ('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False')
    capsys.readouterr()
    config = 'mbv1_0.25-128_imagenet'
    assert run('test', config, tmp_path / 'w.safetensors', *words, *options) == 0
    right = accuracy(capsys.readouterr().out) * 60 / 100
    photos = [shared / 'imagenet' / 'images' / line.split()[0] for line in lines]
    classifier = load(tmp_path / 'w.safetensors', kind='classifier', backend='torch', precision='fp32')
    found = classifier.classify(photos).argmax(1) == [int(line.split()[1]) for line in lines]
    assert right == pytest.approx(found.sum(), abs=4)
    assert right > 15


def four_classes(folder):
    """Weights of a network that tells four classes apart."""
    state = {n: t for n, t in MobileNetV1(0.25).state_dict().items() if not n.endswith('_tracked')}
    state |= {'head.fc.weight': torch.zeros(4, 256), 'head.fc.bias': torch.zeros(4)}
    recipe = Recipe('test', 0.25, 'same', dict(type='ReLU6'), input_size=32)
    write_weights(Weights(state, recipe, kind='classifier'), folder / 'four.safetensors')
    return folder / 'four.safetensors'


def of_other_order(checkpoint, folder):
    """Weights of the same network with its classes in another order."""
    weights = import_weights(checkpoint)
    weights = replace(weights, classes=tuple(sorted(COLOURS, reverse=True)))
    write_weights(weights, folder / 'order.safetensors')
    return folder / 'order.safetensors'


def test_classifiers_are_compared_on_the_same_pictures(trained, pictures, tmp_path, capsys):
    files = sorted(path.relative_to(pictures / 'val') for path in (pictures / 'val').rglob('*.png'))
    labels = [sorted(COLOURS).index(file.parts[0]) for file in files]
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join(f'{file} {label}' for file, label in zip(files, labels, strict=True)))
    model = f'{trained[0]}:{trained[1]}'
    words = ('--images', pictures / 'val', '--labels', listed, '--crop', 32 / 36)
    out = tmp_path / 'out'
    assert run('classify', 'compare', f'one={model}', f'two={model}', *words, '--out-dir', out) == 0
    one, two = json.loads((out / 'accuracy.json').read_text())['models']
    assert {**one, 'name': 'two'} == two
    scores = load(*trained, kind='classifier', backend='torch', precision='fp32').classify(
        [pictures / 'val' / file for file in files]
    )
    assert one['top1'] == pytest.approx((scores.argmax(1) == labels).mean())
    assert one['top5'] is None  # one of three is always among the five likeliest
    assert one['params'] == sum(parameter.numel() for parameter in MobileNetV1(0.25).parameters()) + 3 * (
        256 + 1
    )
    with Image.open(out / 'accuracy.png') as picture:
        assert picture.width > 800
    line = refused(capsys, 'classify', 'compare', model, model, *words)
    assert 'names of their own' in line
    assert 'must be printable' in refused(capsys, 'classify', 'compare', f'a\nb={model}', *words)
    for other, says in (
        (four_classes(tmp_path), 'four tells 4 classes apart, one 3: not comparable'),
        (of_other_order(trained[1], tmp_path), "class 0 is 'red' and 'blue': not comparable"),
        (tmp_path / 'gone.onnx', 'gone.onnx'),
    ):
        line = refused(capsys, 'classify', 'compare', f'one={model}', f'four={other}', *words)
        assert says in line
        assert 'mult-adds' not in capsys.readouterr().out
    wrong = refused(capsys, 'classify', 'compare', f'one={model}', '--images', tmp_path, '--labels', listed)
    assert 'which is not there; --images is their folder' in wrong
    listed.write_text(f'{files[0]} 3')
    assert 'tells 3 classes apart, the labels go up to 3' in refused(
        capsys, 'classify', 'compare', f'one={model}', *words
    )


def test_all_models_of_a_comparison_see_the_same_part(trained, tmp_path):
    """Weights saw all of the middle square, configs as much as their test pipeline left."""
    figures = []
    for name, frame in (('plain', None), ('framed', 255)):
        random = np.random.default_rng(0)
        (tmp_path / name).mkdir()
        for label, colour in enumerate(sorted(COLOURS)):
            pixels = np.full((64, 64, 3), COLOURS[colour], np.uint8)
            pixels[16:48, 16:48] += random.integers(0, 10, (32, 32, 3), dtype=np.uint8)
            if frame is not None:
                pixels[:16] = pixels[48:] = pixels[:, :16] = pixels[:, 48:] = frame
            Image.fromarray(pixels).save(tmp_path / name / f'{label}.png')
        (tmp_path / 'list.txt').write_text('0.png 0\n1.png 1\n2.png 2\n')
        words = ('--images', tmp_path / name, '--labels', tmp_path / 'list.txt', '--crop', 0.5)
        model = f'one={trained[0]}:{trained[1]}'
        assert run('classify', 'compare', model, *words, '--out-dir', tmp_path / f'{name}_out') == 0
        figures.append(json.loads((tmp_path / f'{name}_out' / 'accuracy.json').read_text()))
    assert figures[0]['crop'] == 0.5
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ('=Q', "models are given as MODEL or NAME=MODEL, got '=Q'"),
        ('Q=', "models are given as MODEL or NAME=MODEL, got 'Q='"),
        ('Q=none.tflite', 'none.tflite: no such file'),
    ],
)
def test_a_model_without_a_name_or_a_name_without_a_model_is_refused(model, message, tmp_path, capsys):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    (tmp_path / 'list.txt').write_text('a.png 0')
    words = ('--images', tmp_path, '--labels', tmp_path / 'list.txt')
    assert message in refused(capsys, 'classify', 'compare', model, *words)
    assert '--crop must be more than 0' in refused(capsys, 'classify', 'compare', 'x', *words, '--crop', 0)


def test_a_file_with_a_sign_in_its_name_is_a_model(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'eq=1.tflite').symlink_to(shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite')
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    (tmp_path / 'list.txt').write_text('a.png 0')
    assert run('classify', 'compare', 'eq=1.tflite', '--images', '.', '--labels', 'list.txt') == 0
    assert '\neq=1  ' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['x.tflite', 'x.pb', 'x.png', 'x.h5'])
@pytest.mark.parametrize('verb', ['test', 'predict', 'export'])
def test_what_is_no_checkpoint_of_a_config_is_named(verb, name, trained, pictures, tmp_path, capsys):
    file, image = tmp_path / name, pictures / 'val' / 'red' / '1.png'
    Image.new('RGB', (8, 8)).save(file, 'PNG')
    words = {
        'test': ('test', trained[0], file, '--work-dir', tmp_path / 'w'),
        'predict': ('classify', 'predict', trained[0], file, image, '--backend', 'torch'),
        'export': (
            'export',
            trained[0],
            file,
            '--to',
            'onnx',
            '--out',
            tmp_path / 'o.onnx',
            '--images',
            image,
        ),
    }[verb]
    line = refused(capsys, *words)
    assert f'{file}: not a checkpoint of a config, which ends in .pth or .safetensors' in line


def test_a_released_classifier_is_used_and_exported_by_its_name(shared, tmp_path, monkeypatch, capsys):
    name = 'google/mobilenet_v1_0.75_192'
    place = tmp_path / 'mirror' / name / 'mobilenet_v1_0.75_192_quant.tflite'
    place.parent.mkdir(parents=True)
    shutil.copyfile(shared / 'weights' / place.name, place)
    monkeypatch.setenv('MBV1_MIRROR', str(tmp_path / 'mirror'))
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    photo = shared / 'imagenet' / 'images' / 'n01440764_tench.jpg'
    assert run('classify', 'predict', name, photo, '--backend', 'torch') == 0
    assert f'{photo}: tench ' in capsys.readouterr().out
    for to, file in (('onnx', 'c.onnx'), ('openvino', 'c.xml')):
        assert run('export', name, '--to', to, '--out', tmp_path / file, '--images', photo) == 0
        assert run('classify', 'predict', tmp_path / file, photo) == 0
        assert f'{photo}: tench ' in capsys.readouterr().out


def test_training_samples_are_drawn_with_their_classes(trained, tmp_path, capsys):
    out = tmp_path / 'samples'
    assert run('browse', trained[0], '--out-dir', out, '--num', '6') == 0
    assert f'{out}: 6 images of 3 classes' in capsys.readouterr().out
    drawn = [np.asarray(Image.open(path)) for path in sorted(out.glob('*.png'))]
    means = [picture[:300].mean((0, 1)).argmax() for picture in drawn]
    assert means == [2, 2, 1, 1, 0, 0]  # blue, green, red: in RGB, as they are
