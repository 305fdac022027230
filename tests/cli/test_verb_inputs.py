"""Verbs with input of a wrong kind: one line, exit code 2, nothing written."""

from types import SimpleNamespace

import pytest
from support.project import DEMO_CONFIG, ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.detector_parity import evaluate_detectors
from mbv1_backbone.weights.parity import read_labels

DEMO = str(DEMO_CONFIG)
MISTAKES = {
    'no config': (('train', 'configs/none.py'), 'config configs/none.py: no such file'),
    'no data': (
        ('train', 'ssd_mbv1_coco', '--data-root', '/nowhere', '--work-dir', '{out}'),
        'cocodataset.org',
    ),
    'option out of range': (
        ('train', DEMO, '--data-root', '{data}', '--cfg-options', 'model.backbone.frozen_stages=20'),
        'frozen_stages must lie in -1..13, got 20',
    ),
    'option of another type': (
        ('train', DEMO, '--data-root', '{data}', '--cfg-options', 'model.backbone.out_indices=5'),
        'out_indices must be a tuple of rows, got 5',
    ),
    'option without value': (
        ('train', DEMO, '--cfg-options', 'model.backbone.frozen_stages'),
        '--cfg-options are given as key=value, got model.backbone.frozen_stages',
    ),
    'option that nothing reads': (
        ('train', DEMO, '--data-root', '{data}', '--cfg-options', 'optim_wraper.optimizer.lr=1'),
        "did you mean 'optim_wrapper' by 'optim_wraper'?",
    ),
    'option without a key': (
        ('train', DEMO, '--data-root', '{data}', '--cfg-options', '.model=1'),
        "--cfg-options: '.model' is no key of a config",
    ),
    'model that is none': (
        ('train', DEMO, '--data-root', '{data}', '--cfg-options', 'model=5'),
        'model must be a dict, got 5',
    ),
    'no checkpoint': (('test', DEMO, '--data-root', '{data}'), 'needs a checkpoint after it'),
    'no such checkpoint': (
        ('publish', DEMO, 'none.pth', '--out', '{out}.safetensors'),
        'none.pth: no such file, and no such model in the zoo',
    ),
    'nothing to resume': (
        ('train', DEMO, '--data-root', '{data}', '--work-dir', '{out}', '--resume', 'x.pth'),
        'x.pth: no such file',
    ),
    'nothing to start from': (
        ('train', DEMO, '--data-root', '{data}', '--work-dir', '{out}', '--cfg-options', 'load_from=x.pth'),
        'load_from x.pth: no such file',
    ),
    'suffix': (('test', DEMO, 'x.pth', '--out', 'x.npz'), '--out must end in .json, got x.npz'),
    'no images': (('detect', DEMO, 'x.pth', 'nothing/*.jpg', '--out-dir', '{out}'), 'nothing/*.jpg'),
    'images forgotten': (
        ('detect', DEMO, 'x.pth', '--out-dir', '{out}'),
        'give its checkpoint and images',
    ),
    'no VOC': (('convert', 'voc', '/nowhere', '--out-dir', '{out}'), '/nowhere'),
    'torchrun': (
        ('train', DEMO, '--data-root', '{data}', '--work-dir', '{out}', '--launcher', 'pytorch'),
        'runs under torchrun',
    ),
    'no weights': (('weights', 'import', 'nothing.tflite', '--out', '{out}.safetensors'), 'no such file'),
    'no kind of weights': (
        ('weights', 'import', 'README.md', '--out', '{out}.safetensors'),
        'not a known kind of weights',
    ),
    'weights of another network': (
        ('train', DEMO, '--pretrained', 'timm://resnet50', '--work-dir', '{out}'),
        'the released ones are',
    ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(name, demo_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv('RANK', raising=False)
    words, message = MISTAKES[name]
    line = refused(capsys, *(word.format(data=demo_data, out=tmp_path / 'out') for word in words))
    assert message in line
    written = [path.name for path in tmp_path.rglob('*') if path.is_file()]
    assert written in ([], ['.training.lock'])  # of the work folder, which is held first


def refused(capsys, *words):
    """The one line of a verb that refuses."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    [line] = [line for line in said.err.splitlines() if line.startswith('error: ')]
    assert said.err.endswith(line + '\n')
    return line


@pytest.mark.parametrize(
    ('words', 'key'),
    [
        (('train', '{config}', '--work-dir', '{out}'), 'train_dataloader'),
        (('test', '{config}', 'x.pth', '--work-dir', '{out}'), 'test_evaluator'),
        (('train', '{config}', '--work-dir', '{out}'), 'model'),
        (('browse', '{config}', '--out-dir', '{out}'), 'train_dataloader'),
        (('complexity', '{config}'), 'model'),
        (('publish', '{config}', 'x.pth', '--out', '{out}/x.safetensors'), 'model'),
        (
            ('export', '{config}', 'x.pth', '--to', 'onnx', '--out', '{out}/x.onnx', '--images', '{image}'),
            'model',
        ),
        (('detect', '{config}', 'x.pth', '{image}', '--out-dir', '{out}', '--backend', 'torch'), 'model'),
    ],
)
def test_a_config_that_lacks_what_is_needed(words, key, demo_data, tmp_path, capsys):
    config = tmp_path / 'empty.py'
    config.write_text('seed = 1\n' if key == 'model' else "model = dict(type='SingleStageDetector')\n")
    names = dict(config=config, out=tmp_path / 'out', image=next((demo_data / 'images').iterdir()))
    line = refused(capsys, *(word.format(**names) for word in words))
    assert str(config) in line
    assert key in line
    assert not (tmp_path / 'out').exists()


CLASSIFIER = """
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV1', widen_factor=0.25),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=256),
)
"""


def test_complexity_of_a_classifier_is_the_papers(tmp_path, capsys):
    (tmp_path / 'own.py').write_text(CLASSIFIER)
    assert main(['complexity', str(tmp_path / 'own.py')]) == 0
    mult_adds, _, params, kind = capsys.readouterr().out.splitlines()[-1].split()
    assert kind == 'all'
    assert round(float(mult_adds)) == 41  # Table 6, at 224
    assert round(int(params) / 1e6, 1) == 0.5


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        (('complexity', 'facenet_mbv1_0.25-112_color', '--shape', 300, 300), 'its images have one size'),
        (('complexity', '{own}'), 'not a detector, classifier or face network'),
    ],
)
def test_complexity_of_what_it_does_not_count(words, complaint, tmp_path, capsys):
    (tmp_path / 'own.py').write_text("model = dict(type='MobileNetV1')\n")
    assert complaint in refused(capsys, *(str(word).format(own=tmp_path / 'own.py') for word in words))


UNFIT = {
    'classifier': CLASSIFIER.replace('in_channels=256', 'in_channels=128'),
    'detector': f'_base_ = {str(DEMO_CONFIG)!r}\nmodel = dict(bbox_head=dict(in_channels=(8,) * 6))\n',
}


@pytest.mark.parametrize('name', UNFIT)
def test_complexity_of_a_head_that_does_not_fit_its_backbone(name, tmp_path, capsys):
    (tmp_path / 'own.py').write_text(UNFIT[name])
    line = refused(capsys, 'complexity', str(tmp_path / 'own.py'))
    assert line.startswith(f'error: config {tmp_path / "own.py"}: the network cannot be run: ')


HEADLESS = {  # networks without anchors that are matched to boxes
    'faces': "train_dataloader = dict(dataset=dict(type='X'))\nmodel = dict(type='FaceEmbeddingModel', "
    "backbone=dict(type='MobileNetV1', widen_factor=0.25), head=dict(embedding_dims=8), losses=())\n",
    'points': f'_base_ = {str(DEMO_CONFIG)!r}\nmodel = dict(bbox_head=dict(_delete_=True, type="FCOSHead", '
    'num_classes=2, in_channels=8, feat_channels=32, stacked_convs=1))\n',
}


@pytest.mark.parametrize('name', HEADLESS)
def test_browse_of_a_network_without_anchors(name, demo_data, tmp_path, capsys):
    (tmp_path / 'own.py').write_text(HEADLESS[name])
    line = refused(
        *(capsys, 'browse', tmp_path / 'own.py', '--out-dir', tmp_path / 'out'),
        *(('--data-root', demo_data) if name == 'points' else ()),
    )
    assert 'own.py: its network has no head whose anchors are matched to boxes' in line
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('evaluator', 'complaint'),
    [
        ("dict(type='DumpResults', out_file_path='x.pkl')", 'has neither'),
        ("[dict(type='CocoMetric')]", '.json'),
    ],
)
def test_what_an_evaluator_does_not_write(evaluator, complaint, tmp_path, capsys):
    """Evaluators may be a list."""
    config = tmp_path / 'own.py'
    config.write_text(
        f'_base_ = {str(DEMO_CONFIG)!r}\ntest_evaluator = dict(_delete_=True, value={evaluator})["value"]\n'
    )
    assert complaint in refused(capsys, 'test', config, 'x.pth', '--out', tmp_path / 'x.npz')


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ('', 'not JSON: Expecting value'),
        ('[1]', 'must be an object with images'),
        ('{"images": [], "annotations": [], "categories": [1]}', "'images' must be a list with something"),
        ('{"images": [1], "annotations": [], "categories": [1]}', 'must be an object'),
        ('{"annotations": []}', "has no 'images'"),
    ],
)
def test_annotations_that_are_none(content, complaint, demo_data, tmp_path, capsys):
    path = tmp_path / 'coco.json'
    path.write_text(content)
    with pytest.raises(InputError, match=f'{path}: .*{complaint}'):
        evaluate_detectors({'ours': SimpleNamespace(classes=('ball',))}, demo_data / 'images', str(path))


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [(b'', 'names no image'), (b'a.jpg\n', 'an image name and a class'), (b'\x82\xff', 'utf-8')],
)
def test_labels_that_are_none(content, complaint, tmp_path):
    (tmp_path / 'labels.txt').write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_labels(tmp_path / 'labels.txt', tmp_path)


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (None, 'no such file'),
        (b'', 'not an .npz file with files, embeddings'),
        (b'text', 'not an .npz file with files, embeddings'),
    ],
)
def test_embeddings_that_are_none(content, complaint, tmp_path, capsys):
    path = tmp_path / 'e.npz'
    if content is not None:
        path.write_bytes(content)
    line = refused(capsys, 'faces', 'soft-attributes', path, '--out', tmp_path / 'out.npz')
    assert line == f'error: {path}: {complaint}'
