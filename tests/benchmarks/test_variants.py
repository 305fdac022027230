"""The comparison of variants trains each of them, and goes on where it was stopped."""

import json

import pytest
from support.classes import draw_folder

from benchmarks import variants
from benchmarks.variants import NETWORKS, Budget, compare, paper_differences
from mbv1_backbone.classification.folders import read_class_folder


def test_every_variant_learns_drawn_classes_and_runs_are_not_repeated(tmp_path, monkeypatch):
    folder = read_class_folder(draw_folder(tmp_path / 'a', classes=3, train=8, test=4))
    budget = Budget(width=0.25, size=32, epochs=12, batch_size=8)
    file = tmp_path / 'variants.json'
    found = compare(folder, budget, 1, file, ('MobileNet', 'Conv MobileNet'))
    accuracies = [network['runs'][0]['accuracy'] for network in found['networks'].values()]
    assert min(accuracies) > 0.6
    assert found['networks']['Conv MobileNet']['mult_adds'] > 5 * found['networks']['MobileNet']['mult_adds']
    monkeypatch.setattr(variants, '_run', lambda *args: pytest.fail('was done already'))
    assert compare(folder, budget, 1, file, ('MobileNet',)) == json.loads(file.read_text()) == found
    with pytest.raises(pytest.fail.Exception):
        compare(folder, Budget(width=0.25, size=32, epochs=13), 1, file, ('MobileNet',))


def test_differences_are_taken_seed_by_seed_beside_the_papers():
    def runs(*accuracies):
        return dict(runs=[dict(seed=seed, accuracy=value) for seed, value in enumerate(accuracies)])

    names = [*NETWORKS]
    networks = (runs(0.5, 0.3), runs(0.6, 0.5), runs(0.4), runs(0.1))
    found = dict(networks=dict(zip(names, networks, strict=True)))
    (full, gap, spread, paper), (thin, other, none, _) = paper_differences(found)
    assert (full, thin) == ('Conv MobileNet less MobileNet', '0.75 MobileNet less Shallow MobileNet')
    assert gap == pytest.approx(15)  # 10 and 20 points
    assert spread == pytest.approx(50**0.5)
    assert paper == pytest.approx(1.1)
    assert (other, none) == (pytest.approx(30), 0)
