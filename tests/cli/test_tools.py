"""The command line, as a user types it."""

import itertools
import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.project import DEMO_CONFIG

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.images import read_image
from mbv1_backbone.weights import read_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def trained(tiny_config, demo_data, tmp_path_factory, run):
    """A tiny detector after two epochs: its folder, and the log."""
    folder = tmp_path_factory.mktemp('trained')
    run(
        *('tools/train.py', tiny_config, '--data-root', demo_data, '--work-dir', folder),
        '--auto-scale-lr',
    )
    return folder, log_of(folder)


def log_of(folder):
    """The log of the run in a work folder."""
    [path] = folder.glob('*/*.log')
    return path.read_text()


def metric(output):
    lines = [line for line in output.splitlines() if 'coco/bbox_mAP:' in line]
    return float(lines[-1].split('coco/bbox_mAP:')[1].split()[0])


def test_training_reports_and_leaves_curves_scalars_and_safe_checkpoints(trained):
    folder, output = trained
    assert 'eta:' in output
    assert 'loss_cls:' in output
    assert 'LR is set based on batch size of 16 and the current batch size is 8' in output
    assert (folder / 'curves.png').is_file()
    assert list(folder.glob('*/vis_data/events.out.tfevents*'))
    checkpoint = torch.load(folder / 'epoch_2.pth', weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes'] == ('ball', 'car', 'flower', 'house', 'star')


def test_an_import_prints_its_table_and_a_run_starts_from_it(tiny_config, demo_data, shared, tmp_path, run):
    source, out = shared / 'weights' / 'mobilenet_v1_0.25_128_quant.tflite', tmp_path / 'w.safetensors'
    done = run('tools/import_weights.py', source, '--out', out, '--recalibrate-bn', demo_data / 'images')
    assert '-> rows.13.pointwise.conv.weight' in done.stdout
    assert "init_cfg=dict(type='Pretrained'" in done.stdout
    assert f'fingerprint {read_weights(out).fingerprint}' in done.stdout
    done = run(
        *('tools/train.py', tiny_config, '--data-root', demo_data, '--work-dir', tmp_path / 'run'),
        *('--pretrained', out, '--cfg-options', 'train_cfg.max_epochs=1'),
    )
    assert 'data_preprocessor is not that' not in done.stdout + done.stderr
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    assert torch.load(checkpoint, weights_only=True)['meta']['recipe']['padding'] == 'same'
    done = run('tools/test.py', tiny_config, checkpoint, '--data-root', demo_data, expect=2)
    assert 'was not trained with this config: padding=symmetric instead of same' in done.stderr
    own_config = tmp_path / 'run' / 'tiny.py'  # mmengine leaves it there
    run('tools/test.py', own_config, checkpoint, '--work-dir', tmp_path / 'test')
    done = run(
        'tools/publish_model.py', own_config, checkpoint, '--out', tmp_path / 'p.safetensors', '--half'
    )
    assert 'fingerprint' in done.stdout
    run(
        *('tools/detect.py', own_config, tmp_path / 'p.safetensors', demo_data / 'images'),
        *('--out-dir', tmp_path / 'found'),
    )


def test_test_prints_the_table_writes_detections_and_pictures(trained, tiny_config, demo_data, tmp_path, run):
    folder, training = trained
    done = run(
        *(
            'tools/test.py',
            tiny_config,
            folder / 'epoch_2.pth',
            '--data-root',
            demo_data,
            '--score-thr',
            '0.1',
        ),
        *('--work-dir', tmp_path / 'w', '--out', tmp_path / 'found.json', '--out-dir', tmp_path / 'shown'),
    )
    output = done.stdout + done.stderr
    assert '| category |' in output
    assert '| flower' in output
    assert metric(output) == metric(training)
    found = json.loads((tmp_path / 'found.json').read_text())
    assert set(found[0]) == {'image_id', 'bbox', 'score', 'category_id'}
    pictures = sorted((tmp_path / 'shown').iterdir())
    assert len(pictures) == 8
    assert read_image(pictures[0]).shape == (240, 484, 3)


def test_detect_answers_for_every_kind_of_image(trained, tiny_config, demo_data, tmp_path, run):
    folder, _ = trained
    photos = tmp_path / 'photos'
    photos.mkdir()
    rgb = read_image(next((demo_data / 'images').glob('val*')))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(photos / '7.jpg')
    Image.fromarray(rgb[..., 0]).save(photos / '8.png')
    Image.fromarray(np.concatenate([rgb, rgb[..., :1]], 2)).save(photos / '9.png')
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 257).save(photos / '10.png')
    Image.fromarray(rgb[:100]).save(photos / '11.jpg', exif=exif)
    (photos / '12.jpg').write_bytes(b'broken')
    done = run(
        *('tools/detect.py', tiny_config, folder / 'epoch_2.pth', photos, '--out-dir', tmp_path / 'out'),
        *('--score-thr', '0.05', '--batch-size', '3'),
    )
    assert f'left out: image {photos}/12.jpg: ' in done.stdout
    found = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    assert {d['image_id'] for d in found} <= {7, 8, 9, 10, 11}
    assert {d['category_id'] for d in found} <= {1, 2, 3, 4, 5}
    assert read_image(tmp_path / 'out' / '11.png').shape == (240, 100, 3)
    for detection in found:
        x, y, w, h = detection['bbox']
        height, width = read_image(detection['file_name']).shape[:2]
        assert 0 <= x <= x + w <= width + 0.02
        assert 0 <= y <= y + h <= height + 0.02


def test_browse_draws_boxes_and_anchors(demo_data, tmp_path, capsys):
    words = ('browse', DEMO_CONFIG, '--data-root', demo_data, '--out-dir', tmp_path, '--num', 4)
    assert main([str(word) for word in words]) == 0
    pictures = sorted(tmp_path.iterdir())
    assert len(pictures) == 4
    assert read_image(pictures[0]).shape == (160, 324, 3)
    summary = capsys.readouterr().out.splitlines()[-1]
    boxes, anchors = (int(word) for word in summary.split() if word.isdigit())
    assert anchors >= boxes > 0


def test_two_processes_evaluate_and_train_as_one(plain_config, demo_data, tmp_path, run):
    """With frozen batch norm, half batches in two processes give the weights of whole ones in one."""
    frozen = (
        'train_cfg.max_epochs=1',
        'model.backbone.norm_eval=True',
        'train_dataloader.dataset.indices=16',
    )
    common = ('--data-root', demo_data)
    port = str(29500 + os.getpid() % 1000)
    environment = {'PYTHON': sys.executable, 'PORT': port, 'GLOO_SOCKET_IFNAME': 'lo', 'OMP_NUM_THREADS': '1'}
    parallel = dict(program='bash', env=environment)

    run(
        *('tools/train.py', plain_config, *common, '--no-amp', '--work-dir', tmp_path / 'one'),
        *('--cfg-options', *frozen),
    )
    run(
        *('tools/dist_train.sh', plain_config, 2, *common, '--no-amp', '--work-dir', tmp_path / 'two'),
        *('--cfg-options', *frozen, 'train_dataloader.batch_size=4'),
        **parallel,
    )
    one, two = (
        torch.load(tmp_path / name / 'epoch_1.pth', weights_only=True)['state_dict']
        for name in ('one', 'two')
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3, msg=name)

    checkpoint = tmp_path / 'two' / 'epoch_1.pth'
    options = (*common, '--work-dir', tmp_path / 'tested', '--cfg-options', *frozen)
    alone = run('tools/test.py', plain_config, checkpoint, *options)
    together = run(
        *('tools/dist_test.sh', plain_config, checkpoint, 2, '--out', tmp_path / 'found.json', *options),
        **parallel,
    )
    assert json.loads((tmp_path / 'found.json').read_text())
    trained = metric(log_of(tmp_path / 'two'))
    assert trained == metric(alone.stdout + alone.stderr) == metric(together.stdout + together.stderr)


def test_broken_data_is_one_line(tiny_config, demo_data, tmp_path, run):
    import shutil

    root = shutil.copytree(demo_data, tmp_path / 'data')
    broken = next((root / 'images').glob('train_*'))
    broken.write_bytes(b'')
    command = (
        'tools/train.py',
        tiny_config,
        '--data-root',
        root,
        '--work-dir',
        tmp_path / 'w',
        '--cfg-options',
    )
    options = ['train_dataloader.dataset.filter_cfg.filter_empty_gt=False']
    for workers in (0, 1):
        done = run(*command, *options, f'train_dataloader.num_workers={workers}', expect=2)
        errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
        assert len(errors) == 1
        assert errors[0].startswith(f'error: image {broken}: ')
    (root / 'annotations' / 'train.json').write_text('{"images": [')
    done = run(*command, *options, expect=2)
    assert 'error: ' in done.stderr.splitlines()[-1]


DEGENERATE = {
    'no boxes': [],
    'zero area': [[50, 50, 0, 30], [50, 50, 30, 0]],
    'outside': [[-500, -500, 100, 100], [900, 20, 50, 50]],
    'crossing the edge': [[-50, -50, 150, 150], [200, 200, 500, 500]],
    'whole image': [[0, 0, 240, 240]],
    'one pixel': [[100, 100, 1, 1]],
}


def test_degenerate_annotations_train_and_evaluate_one_image_a_batch(tiny_config, demo_data, tmp_path, run):
    import shutil

    root = shutil.copytree(demo_data, tmp_path / 'data')
    coco = json.loads((root / 'annotations' / 'train.json').read_text())
    coco['annotations'] = []
    for entry, (boxes, crowd) in zip(
        coco['images'], itertools.product(DEGENERATE.values(), (0, 1)), strict=False
    ):
        for bbox in boxes:
            coco['annotations'].append(
                dict(
                    id=len(coco['annotations']) + 1,
                    image_id=entry['id'],
                    category_id=1,
                    bbox=bbox,
                    area=bbox[2] * bbox[3],
                    iscrowd=crowd,
                )
            )
    coco['images'] = coco['images'][: 2 * len(DEGENERATE)]
    for split in ('train', 'val'):
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(coco))
    run(
        *('tools/train.py', tiny_config, '--data-root', root, '--work-dir', tmp_path / 'w'),
        *(
            '--cfg-options',
            'train_cfg.max_epochs=1',
            'train_dataloader.dataset.filter_cfg.filter_empty_gt=False',
        ),
        'train_dataloader.batch_size=1',
    )
    assert 'nan' not in log_of(tmp_path / 'w').lower().split('epoch(train)')[1].split('epoch(val)')[0]
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()
