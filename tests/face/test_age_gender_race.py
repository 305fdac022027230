"""UTKFace's names and lists, the network of three heads, and its measures."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face import AgeGenderRaceMetric, UTKFace
from mbv1_backbone.face.utkface import Labels, labels_of_name, read_labels

LOAD = [dict(type='LoadFace', size=32), dict(type='PackFace')]


def test_names_are_labels():
    assert labels_of_name(Path('x/35_1_2_20170116174525125.jpg.chip.jpg')) == Labels(35, 1, 2)
    assert labels_of_name(Path('116_0_4_20170116174525125.png')) == Labels(116, 0, 4)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('61_1_20170109142408075.jpg.chip.jpg', 'must be named AGE_GENDER_RACE_DATE'),
        ('me.jpg', 'must be named AGE_GENDER_RACE_DATE'),
        ('117_1_2_2017.jpg', r'age must be a whole number in 0\.\.116, got 117'),
        ('30_2_2_2017.jpg', r'gender must be a whole number in 0\.\.1, got 2'),
        ('30_1_5_2017.jpg', r'race must be a whole number in 0\.\.4, got 5'),
    ],
)
def test_names_may_be_odd(name, message, tmp_path):
    Image.new('RGB', (40, 40)).save(tmp_path / name)
    with pytest.raises(InputError, match=message) as error:
        UTKFace(data_prefix=dict(img=str(tmp_path)))
    assert name in str(error.value)
    assert '\n' not in str(error.value)


@pytest.fixture
def named(tmp_path):
    for number in range(60):
        name = f'{number}_{number % 2}_{number % 5}_2017{number:04}.jpg'
        Image.new('RGB', (40, 40), (number, 0, 0)).save(tmp_path / name)
    Image.new('RGB', (40, 40)).save(tmp_path / '61_1_2017.jpg')
    return tmp_path


def test_a_part_of_the_files_is_held_out_and_odd_ones_are_left_out(named):
    parts = {
        split: UTKFace(
            data_prefix=dict(img=str(named)), split=split, left_out=['61_1_2017.jpg'], pipeline=LOAD
        )
        for split in ('train', 'val', '')
    }
    files = {split: {entry['file'] for entry in part.load_data_list()} for split, part in parts.items()}
    assert not files['train'] & files['val']
    assert files['train'] | files['val'] == files['']
    assert len(files['']) == 60
    assert 5 <= len(files['val']) <= 20
    sample = parts['val'][0]['data_samples']
    wanted = labels_of_name(Path(sample.file))
    assert (sample.age, sample.gender, sample.race) == wanted
    with pytest.raises(InputError, match="split must be train, val or empty, got 'dev'"):
        UTKFace(data_prefix=dict(img=str(named)), split='dev')
    with pytest.raises(InputError, match='is for file names as labels'):
        UTKFace(ann_file='train.csv', split='val')


def test_a_list_finds_crops_under_its_names(tmp_path):
    (tmp_path / 'crops').mkdir()
    Image.new('RGB', (40, 40)).save(tmp_path / 'crops' / 'a.png')
    (tmp_path / 'train.csv').write_text('file,age,gender,race\na.jpg,3,1,4\nb.jpg,40,0,0\n')
    given = dict(data_root=str(tmp_path), ann_file='train.csv')
    [entry] = UTKFace(data_prefix=dict(img='crops'), **given).load_data_list()
    assert entry['img_path'] == str(tmp_path / 'crops' / 'a.png')
    assert (entry['age'], entry['gender'], entry['race']) == (3, 1, 4)
    with pytest.raises(InputError, match='none of 2 labelled images is there'):
        UTKFace(data_prefix=dict(img='images'), **given)


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('a.jpg,3.5,0,0', r'a\.jpg: age must be a whole number in 0\.\.116, got 3\.5'),
        ('a.jpg,-3,0,0', 'age must be a whole number'),
        ('a.jpg,3,male,0', 'gender must be a whole number'),
        ('a.jpg,3,0,0\na.jpg,3,0,0', r'a\.jpg is named twice'),
    ],
)
def test_lists_may_be_wrong(row, message, tmp_path):
    (tmp_path / 'l.csv').write_text(f'file,age,gender,race\n{row}\n')
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / 'l.csv')


def network(**options):
    return MODELS.build(
        dict(
            type='AgeGenderRaceModel',
            backbone=dict(type='MobileNetV1', widen_factor=0.25),
            data_preprocessor=dict(input_size=32),
            **options,
        )
    )


def test_losses_by_loops():
    model = network(num_ages=4, num_races=3, sigma=1.5, years_weight=0.5, dropout=0).eval()
    inputs = torch.randn(2, 3, 32, 32)
    labels = [(3, 0, 2), (1, 1, 0)]
    samples = [BaseDataElement(age=a, gender=g, race=r) for a, g, r in labels]
    said, losses = model(inputs), model(inputs, samples, mode='loss')
    wanted = dict(loss_age=0.0, loss_years=0.0, loss_gender=0.0, loss_race=0.0)
    for row, (age, gender, race) in enumerate(labels):
        weights = [math.exp(-((year - age) ** 2) / (2 * 1.5**2)) for year in range(4)]
        ages = said.ages[row].tolist()
        wanted['loss_age'] -= (
            sum(w / sum(weights) * math.log(p) for w, p in zip(weights, ages, strict=True)) / 2
        )
        wanted['loss_years'] += 0.5 * abs(sum(year * p for year, p in enumerate(ages)) - age) / 2
        male = said.male[row].item()
        wanted['loss_gender'] -= math.log(male if gender == 0 else 1 - male) / 2
        wanted['loss_race'] -= math.log(said.races[row, race].item()) / 2
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match='num_ages=4: there is a label 7'):
        model(inputs, [BaseDataElement(age=7, gender=0, race=0)] * 2, mode='loss')
    with pytest.raises(ValueError, match='num_races must be at least 2'):
        network(num_races=1)


def test_it_learns_labels_and_predicts_them():
    model = network(num_ages=60, dropout=0)
    inputs = torch.randn(4, 3, 32, 32)
    samples = [BaseDataElement(age=10 * i, gender=i % 2, race=i) for i in range(1, 5)]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    totals = []
    for _ in range(25):
        total = sum(model(inputs, samples, mode='loss').values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.6 * totals[0]
    predicted = model(inputs, [BaseDataElement() for _ in range(4)], mode='predict')
    said = model(inputs)
    assert [sample.years.item() for sample in predicted] == pytest.approx(said.years.tolist())
    assert [sample.races.argmax().item() for sample in predicted] == [1, 2, 3, 4]
    assert said.years.tolist() == pytest.approx(
        [sum(year * p for year, p in enumerate(row)) for row in said.ages.tolist()], rel=1e-4
    )


def test_figures_of_faces():
    metric = AgeGenderRaceMetric()
    rows = [(30.0, 0.9, 0, (33, 0, 0)), (10.0, 0.6, 1, (5, 1, 1)), (50.0, 0.2, 2, (50, 1, 3))]
    samples = [
        dict(years=years, male=male, races=np.eye(5)[race], age=labels[0], gender=labels[1], race=labels[2])
        for years, male, race, labels in rows
    ]
    metric.process(None, samples)
    figures = metric.compute_metrics(metric.results)
    assert figures == pytest.approx(dict(gender_accuracy=2 / 3, race_accuracy=2 / 3, age_error=8 / 3))
