"""Training, evaluation and detection read one and the same annotations, and keep their category ids."""

import json
import math

import pytest
import torch
from mmengine.structures import InstanceData
from support.project import SHARED

from mbv1_backbone import training
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.detection.coco_data import CheckedCocoDataset, CheckedCocoMetric
from mbv1_backbone.training.annotations import check_annotations

CLASSES = ('ball', 'car', 'flower', 'house', 'star')
IDS = dict(ball=7, car=9, flower=12, house=30, star=2)


@pytest.fixture
def own_ids(demo_data, tmp_path):
    """The demo data with other category ids, in another order."""
    (tmp_path / 'images').symlink_to(demo_data / 'images')
    for split in ('train', 'val'):
        content = json.loads((demo_data / f'annotations/{split}.json').read_text())
        names = {category['id']: category['name'] for category in content['categories']}
        for annotation in content['annotations']:
            annotation['category_id'] = IDS[names[annotation['category_id']]]
        content['categories'] = [dict(id=i, name=name) for name, i in sorted(IDS.items(), reverse=True)]
        write(tmp_path, split, content)
    return tmp_path


def write(root, split, content):
    (root / 'annotations').mkdir(exist_ok=True)
    (root / f'annotations/{split}.json').write_text(json.dumps(content))


def change(root, split, function):
    path = root / f'annotations/{split}.json'
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))
    return content


def dataset(root, split, classes=CLASSES, **kwargs):
    return CheckedCocoDataset(
        data_root=str(root),
        ann_file=f'annotations/{split}.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=classes),
        pipeline=[],
        **kwargs,
    )


def perfect(data):
    """Every box of a data set, found with certainty."""
    samples = []
    for index in range(len(data)):
        info = data.get_data_info(index)
        boxes = torch.tensor([i['bbox'] for i in info['instances']], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([i['bbox_label'] for i in info['instances']], dtype=torch.long)
        found = InstanceData(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))
        shape = info['height'], info['width']
        samples.append(dict(img_id=info['img_id'], ori_shape=shape, pred_instances=found))
    return samples


def average_precision(metric, samples, size):
    metric.process({}, samples)
    return metric.evaluate(size)


def test_labels_are_numbered_by_the_config(own_ids):
    data = dataset(own_ids, 'train')
    content = json.loads((own_ids / 'annotations/train.json').read_text())
    names = {i: name for name, i in IDS.items()}
    expected = sorted((a['image_id'], *a['bbox'], names[a['category_id']]) for a in content['annotations'])
    found = []
    for index in range(len(data)):
        info = data.get_data_info(index)
        for item in info['instances']:
            x1, y1, x2, y2 = item['bbox']
            found.append((info['img_id'], x1, y1, x2 - x1, y2 - y1, CLASSES[item['bbox_label']]))
    assert sorted(found) == expected
    assert tuple(data.cat_ids) == tuple(IDS[name] for name in CLASSES)


def from_zero(content):
    for place, annotation in enumerate(content['annotations']):
        annotation['id'] = place  # COCO's evaluation takes a match with annotation 0 for none


def without_balls(content):
    content['categories'] = [c for c in content['categories'] if c['name'] != 'ball']
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != IDS['ball']]


@pytest.mark.parametrize('how', [lambda c: None, from_zero, without_balls])
@pytest.mark.parametrize('handed', [True, False])
def test_what_is_all_right_has_an_ap_of_1(how, handed, own_ids):
    change(own_ids, 'val', how)
    data = dataset(own_ids, 'val', test_mode=True)
    metric = CheckedCocoMetric(ann_file=str(own_ids / 'annotations/val.json'), classwise=True)
    metric.dataset_meta = data.metainfo
    if handed:
        metric.use(data.annotations)
    result = average_precision(metric, perfect(data), len(data))
    assert result['coco/bbox_mAP'] == 1
    assert math.isnan(result['coco/ball_precision']) == (how is without_balls)


def test_boxes_that_are_no_numbers_are_not_found_by_anything(own_ids):
    """In COCO's evaluation they match whatever is found: an AP of .673 for an untrained network."""

    def spoil(content):
        for annotation in content['annotations'][1:]:
            annotation['bbox'] = [math.nan] * 4

    change(own_ids, 'val', spoil)
    data = dataset(own_ids, 'val', test_mode=True)
    assert data.report.counts['not_numbers'] == data.report.stated - 1
    metric = CheckedCocoMetric(ann_file=str(own_ids / 'annotations/val.json'))
    metric.dataset_meta = data.metainfo
    metric.use(data.annotations)
    corner = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 3, 3]] * 5), labels=torch.arange(5), scores=torch.ones(5)
    )
    samples = [{**sample, 'pred_instances': corner} for sample in perfect(data)]
    assert average_precision(metric, samples, len(data))['coco/bbox_mAP'] == 0


def test_results_have_the_ids_of_the_data_set(own_ids, tmp_path):
    data = dataset(own_ids, 'val', test_mode=True)
    metric = CheckedCocoMetric(outfile_prefix=str(tmp_path / 'found'), format_only=True)
    metric.dataset_meta = data.metainfo
    metric.use(data.annotations)
    average_precision(metric, perfect(data), len(data))
    found = json.loads((tmp_path / 'found.bbox.json').read_text())
    truth = json.loads((own_ids / 'annotations/val.json').read_text())['annotations']
    assert sorted(f['category_id'] for f in found) == sorted(t['category_id'] for t in truth)


def test_a_metric_with_nothing_to_evaluate_is_refused(own_ids):
    change(own_ids, 'val', lambda c: [a.update(iscrowd=1) for a in c['annotations']])
    data = dataset(own_ids, 'val', test_mode=True)
    with pytest.raises(InputError, match=r'val\.json: no box is left to evaluate on, of \d+: \d+ x crowd'):
        CheckedCocoMetric().use(data.annotations)
    CheckedCocoMetric(format_only=True, outfile_prefix='unused').use(data.annotations)


def test_a_metric_of_another_file_is_refused(own_ids):
    data = dataset(own_ids, 'val', test_mode=True)
    metric = CheckedCocoMetric(ann_file=str(own_ids / 'annotations/train.json'))
    with pytest.raises(InputError, match=r'evaluator: ann_file .*train\.json has other images than'):
        metric.use(data.annotations)


def test_what_the_filter_leaves_out_is_counted(own_ids):
    def empty_two(content):
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] > 2]

    content = change(own_ids, 'train', empty_two)
    used = len({annotation['image_id'] for annotation in content['annotations']})
    assert used < 23
    data = dataset(own_ids, 'train', filter_cfg=dict(filter_empty_gt=True, min_size=32))
    assert (data.report.counts['no_boxes'], len(data), data.report.images) == (24 - used, used, used)
    with pytest.raises(InputError, match=r'train\.json: filter_cfg .* leaves none of its images'):
        dataset(own_ids, 'train', filter_cfg=dict(min_size=1000))


def test_configs_with_mmdets_own_data_set_are_checked(tiny_config, demo_data, tmp_path):
    copied = tmp_path / 'copied.py'
    copied.write_text(
        f'_base_ = {str(tiny_config)!r}\n'
        "train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(\n"
        "    type='mmdet.CocoDataset', data_root='data', ann_file='a.json')))\n"
    )
    cfg = training.load_config(copied)
    assert cfg.train_dataloader.dataset.dataset.type == 'CheckedCocoDataset'
    assert cfg.val_dataloader.dataset.type == cfg.test_dataloader.dataset.type == 'CheckedCocoDataset'
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'CheckedCocoMetric'


def of_one_epoch(config, root, work_dir, **metainfo):
    options = {'train_cfg.max_epochs': 1, 'default_hooks.checkpoint.save_best': None}
    cfg = training.load_config(config, options, str(root), str(work_dir))
    for part, classes in metainfo.items():
        cfg[f'{part}_dataloader'].dataset.metainfo = dict(classes=classes)
    return cfg


def test_classes_of_training_and_validation_must_be_the_same(tiny_config, own_ids, tmp_path):
    cfg = of_one_epoch(tiny_config, own_ids, tmp_path / 'run', val=CLASSES[::-1])
    runner = training.build_runner(cfg)
    with pytest.raises(InputError, match=r"of .*val\.json must be those of .*train\.json, .*: 'star', "):
        check_annotations(runner, runner.train_loop, runner.val_loop)


@pytest.mark.slow
def test_category_ids_travel_to_every_result(tiny_config, own_ids, tmp_path, capsys):
    from mbv1_backbone.inference.detector import Detector
    from mbv1_backbone.inference.loading import load
    from mbv1_backbone.weights.store import read_weights, write_weights

    expected = tuple(IDS[name] for name in CLASSES)
    training.train(of_one_epoch(tiny_config, own_ids, tmp_path / 'run'))
    assert 'boxes used' in capsys.readouterr().out
    checkpoint = tmp_path / 'run/epoch_1.pth'
    cfg = training.load_config(tiny_config)
    assert Detector.load(cfg, checkpoint).category_ids == expected
    write_weights(training.published(cfg, checkpoint), tmp_path / 'w.safetensors')
    assert read_weights(tmp_path / 'w.safetensors').category_ids == expected
    assert Detector.load(cfg, tmp_path / 'w.safetensors').category_ids == expected
    assert load(tiny_config, checkpoint, 'onnxruntime').category_ids == expected

    swapped = of_one_epoch(tiny_config, own_ids, tmp_path / 'test', test=CLASSES[::-1])
    with pytest.raises(InputError, match=r'classes of checkpoint .*epoch_1\.pth must be those of metainfo'):
        training.evaluate(swapped, str(checkpoint))


REFUSED = (2, 4, 12, 13, 14)  # in one line
CASES = sorted((SHARED.parent / 'cases').glob('[01][0-9]_*/data')) if SHARED.is_dir() else []


@pytest.mark.parametrize('case', CASES, ids=lambda path: path.parent.name[:2])
def test_reported_files_are_right_or_refused(case):
    """Files as people have reported them."""
    number = int(case.parent.name[:2])
    classes = ('ball',) if number == 11 else CLASSES

    if number in REFUSED:
        with pytest.raises(InputError, match=r'train\.json: ') as caught:
            dataset(case, 'train', classes)
        assert '\n' not in str(caught.value)
        return
    for part in ('train', 'val'):
        data = dataset(case, part, classes, test_mode=part == 'val')
        content = json.loads((case / f'annotations/{part}.json').read_text(encoding='utf-8-sig'))
        names = {int(c['id']): c['name'] for c in content['categories']}
        expected = sorted(names[int(a['category_id'])] for a in content['annotations'])
        infos = [data.get_data_info(index) for index in range(len(data))]
        assert sorted(classes[i['bbox_label']] for info in infos for i in info['instances']) == expected
        assert not any(i['ignore_flag'] for info in infos for i in info['instances'])
        if part == 'val':
            metric = CheckedCocoMetric(ann_file=str(case / 'annotations/val.json'))
            metric.dataset_meta = data.metainfo
            metric.use(data.annotations)
            assert average_precision(metric, perfect(data), len(data))['coco/bbox_mAP'] == 1
