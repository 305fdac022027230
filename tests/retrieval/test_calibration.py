"""Thresholds, against slow loops and against people who were kept apart."""

import numpy as np
import pytest
from support.crowd import DIM, normalised, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.calibration import calibrate, curve


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / 'g', DIM, 'm') as opened:
        yield opened


def slow(vectors, names, fpir):
    """Threshold and DIR by loops over all pairs."""
    vectors = normalised(vectors)
    others, hits, probes = [], [], 0
    for i in range(len(names)):
        other = max(float(vectors[i] @ vectors[j]) for j in range(len(names)) if names[j] != names[i])
        others.append(other)
    ordered = sorted(others, reverse=True)
    threshold = ordered[int(fpir * len(ordered))]
    for i in range(len(names)):
        own = [float(vectors[i] @ vectors[j]) for j in range(len(names)) if names[j] == names[i] and j != i]
        if own:
            probes += 1
            hits.append(max(own) > others[i] and max(own) > threshold)
    return threshold, np.mean(hits), probes


@pytest.mark.parametrize('fpir', [0.01, 0.1, 0.5])
def test_a_threshold_is_the_slow_loops(gallery, fpir):
    vectors, names, files, hashes = people(60, images=2, spread=0.6)
    gallery.add(vectors, names, files, hashes)
    found = calibrate(gallery, fpir)
    threshold, dir_, probes = slow(vectors, names, fpir)
    assert found.threshold == pytest.approx(threshold, abs=1e-5)
    assert (found.dir, found.probes, found.non_mated) == (pytest.approx(dir_), probes, 120)
    assert found.low <= found.threshold <= found.high


@pytest.mark.parametrize('fpir', [0.05, 0.3, 0.6])
def test_of_equal_scores_no_more_than_the_rate_reach_the_threshold(gallery, fpir):
    vectors, names, files, hashes = people(20)
    gallery.add(vectors, names, files, hashes)
    others = np.random.default_rng(5).normal(size=(40, DIM))
    others[:16] = others[0]  # a share of .4 of one score
    found = calibrate(gallery, fpir, others)
    best = (normalised(others).astype(np.float32) @ normalised(vectors).astype(np.float32).T).max(1)
    shares = [(best > value + 1e-6).mean() for value in [*best, -2]]
    wanted = max(share for share in shares if share <= fpir)
    assert (best >= found.threshold - 1e-6).mean() >= wanted
    assert (best > found.threshold + 1e-6).mean() <= wanted


def test_people_who_are_not_enrolled_are_taken_for_somebody_as_often_as_was_asked(gallery):
    vectors, names, files, hashes = people(400, images=2, dim=DIM)
    gallery.add(vectors, names, files, hashes)
    calibrate(gallery, 0.05)
    others, *_ = people(2000, seed=7, images=1)
    taken = np.mean([bool(matches) for matches in gallery.search(others, k=1)])
    assert 0.03 < taken < 0.08
    known = normalised(vectors)[::2] + 0.02
    assert np.mean([bool(matches) for matches in gallery.search(known, k=1)]) > 0.95


def test_given_non_mated_probes_take_the_place_of_the_stand_ins(gallery):
    vectors, names, files, hashes = people(30)
    gallery.add(vectors, names, files, hashes)
    others = np.random.default_rng(5).normal(size=(50, DIM))
    found = calibrate(gallery, 0.1, others)
    best = np.sort((normalised(others) @ normalised(vectors).T).max(1))[::-1]
    assert found.threshold == pytest.approx(best[5], abs=1e-5)
    assert (best > found.threshold + 1e-6).sum() <= 5


def test_a_calibration_is_kept_and_used_until_another(gallery):
    vectors, names, files, hashes = people(30)
    gallery.add(vectors, names, files, hashes)
    assert gallery.calibration is None
    assert len(gallery.search(vectors[:1], k=60)[0]) == 60
    found = calibrate(gallery, 0.05)
    again = Gallery(gallery.folder)
    assert again.calibration['threshold'] == found.threshold
    scores = [m.score for m in again.search(vectors[:1], k=60)[0]]
    assert scores
    assert min(scores) >= found.threshold
    assert len(again.search(vectors[:1], k=60, threshold=None)[0]) == 60


@pytest.mark.parametrize('fpir', [0, 1, -0.1, 2])
def test_a_rate_out_of_its_range_is_one_line(gallery, fpir):
    with pytest.raises(InputError, match='fpir must lie between 0 and 1'):
        calibrate(gallery, fpir)


@pytest.mark.parametrize('count', [0, 1, 20])
def test_too_few_non_mated_probes_for_the_rate_are_one_line(gallery, count):
    vectors, names, files, hashes = people(count)
    gallery.add(vectors, names, files, hashes)
    with pytest.raises(InputError, match='needs 1000 non-mated probes or more, got'):
        calibrate(gallery, 0.001)
    with pytest.raises(InputError, match='needs inf non-mated probes or more, got'):
        calibrate(gallery, 5e-324)


def test_a_curve_says_what_calibration_would_find(gallery):
    vectors, names, files, hashes = people(40, images=2, spread=0.6)
    gallery.add(vectors, names, files, hashes)
    found = curve(gallery, points=30)
    assert gallery.calibration is None
    assert (found.non_mated, found.probes) == (80, 80)
    rates = [point.fpir for point in found.points]
    assert rates == sorted(set(rates))
    assert (rates[0], rates[-1]) == (1 / 80, 79 / 80)
    for point in found.points[::5]:
        threshold, dir_, _ = slow(vectors, names, point.fpir)
        assert point.threshold == pytest.approx(threshold, abs=1e-5)
        assert point.dir == pytest.approx(dir_)
        calibrated = calibrate(gallery, point.fpir)
        assert (calibrated.threshold, calibrated.dir) == (point.threshold, point.dir)


def test_a_curve_needs_people(gallery):
    vectors, names, files, hashes = people(1, images=3)
    gallery.add(vectors, names, files, hashes)
    with pytest.raises(InputError, match='a curve needs 2 non-mated probes or more, got 0'):
        curve(gallery)
