"""Each measure against a slow one, written from its definition."""

import numpy as np
import pytest

from mbv1_backbone.face.evaluation.metrics import (
    area_under,
    best_threshold,
    detect_and_identify,
    equal_error_rate,
    identify,
    mean_average_precision,
    roc,
    tar_at_far,
    verify_folds,
)


def draw(seed, count=60, ties=False):
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.4
    same[:2] = True, False
    scores = rng.normal(same * 1.0, 1)
    return (np.round(scores) if ties else scores), same


def rates(scores, same, threshold):
    accepted = [s >= threshold for s in scores]
    tar = sum(a and s for a, s in zip(accepted, same, strict=True)) / sum(same)
    far = sum(a and not s for a, s in zip(accepted, same, strict=True)) / sum(not s for s in same)
    return far, tar


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_the_curve_has_the_rates_at_every_threshold(seed, ties):
    scores, same = draw(seed, ties=ties)
    curve = roc(scores, same)
    assert list(curve.thresholds[1:]) == sorted(set(scores), reverse=True)
    for far, tar, threshold in zip(curve.far, curve.tar, curve.thresholds, strict=True):
        assert (far, tar) == pytest.approx(rates(scores, same, threshold))


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_auc_is_the_share_of_pairs_in_the_right_order(seed, ties):
    scores, same = draw(seed, ties=ties)
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, is_a in zip(scores, same, strict=True)
        for b, is_b in zip(scores, same, strict=True)
        if is_a and not is_b
    ]
    assert area_under(roc(scores, same)) == pytest.approx(np.mean(wins))


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('far', [0.0, 0.03, 0.1, 0.5, 1.0])
def test_tar_at_far_is_the_best_that_keeps_to_the_rate(far, ties):
    scores, same = draw(3, ties=ties)
    allowed = [rates(scores, same, t) for t in [*scores, np.inf]]
    best = max(tar for f, tar in allowed if f <= far)
    tar, threshold = tar_at_far(roc(scores, same), far)
    assert tar == pytest.approx(best)
    assert rates(scores, same, threshold) == pytest.approx((rates(scores, same, threshold)[0], tar))
    assert rates(scores, same, threshold)[0] <= far


def test_eer_of_known_curves():
    assert equal_error_rate(roc(np.array([2.0, 1]), np.array([True, False]))) == 0
    assert equal_error_rate(roc(np.array([1.0, 2]), np.array([True, False]))) == 1
    assert equal_error_rate(roc(np.zeros(10), np.arange(10) < 5)) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    same = np.arange(20000) < 10000
    found = equal_error_rate(roc(rng.normal(same * 2.0, 1), same))
    assert found == pytest.approx(0.1587, abs=0.01)  # of two normals two deviations apart


@pytest.mark.parametrize('seed', range(8))
def test_the_best_threshold_has_the_most_right(seed):
    scores, same = draw(seed, count=25, ties=seed % 2 == 0)
    right = [(np.array(scores >= t) == same).sum() for t in [*scores, scores.max() + 1]]
    assert ((scores >= best_threshold(scores, same)) == same).sum() == max(right)


def test_folds_take_their_threshold_from_the_others():
    # the third of the folds' scores are shifted: its own best threshold would give 1, the others' gives .5
    scores = np.array([0.9, 0.1, 0.8, 0.2, 1.9, 1.1, 0.7, 0.3])
    same = np.array([True, False] * 4)
    found = verify_folds(scores, same, np.array([0, 0, 1, 1, 2, 2, 3, 3]))
    assert found.accuracy == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert found.error == pytest.approx(np.std([1, 1, 0.5, 1], ddof=1) / 4**0.5)
    with pytest.raises(ValueError, match='needs two folds or more, got 1'):
        verify_folds(scores, same, np.zeros(8))


def crowd(seed, ties=False):
    rng = np.random.default_rng(seed)
    gallery = np.array([f'p{i}' for i in rng.integers(0, 6, 15)] + [f'p{i}' for i in range(6)])
    probes = np.array([f'p{i}' for i in rng.integers(0, 6, 20)])
    scores = rng.normal((probes[:, None] == gallery) * 1.0, 1)
    return (np.round(scores) if ties else scores), gallery, probes


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_ranks_and_precision_by_sorting_each_row(seed, ties):
    scores, gallery, probes = crowd(seed, ties)
    found = identify(scores, gallery, probes)
    for row, probe, rank, precision in zip(scores, probes, found.ranks, found.average_precision, strict=True):
        best = {name: max(row[gallery == name]) for name in set(gallery)}
        assert rank == 1 + sum(best[name] >= best[probe] for name in best if name != probe)
        listed = sorted(zip(-row, gallery == probe, strict=True), key=lambda item: (item[0], item[1]))
        hits, total = 0, 0.0
        for place, (_, mine) in enumerate(listed, 1):
            hits += mine
            total += mine * hits / place
        assert precision == pytest.approx(total / hits)
    assert found.within(1) == (found.ranks == 1).mean()
    assert found.within(6) == 1


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('fpir', [0.0, 0.05, 0.1, 0.34, 1.0])
def test_dir_at_fpir_by_trying_every_threshold(fpir, ties):
    scores, gallery, probes = crowd(1, ties)
    unknown = np.random.default_rng(9).normal(0, 1, (20, len(gallery)))
    unknown = np.round(unknown) if ties else unknown
    rate, threshold = detect_and_identify(scores, gallery, probes, unknown, [fpir])[fpir]

    def outcome(t):
        hits = 0
        for row, probe in zip(scores, probes, strict=True):
            best = {name: max(row[gallery == name]) for name in set(gallery)}
            alone = all(best[probe] > best[name] for name in best if name != probe)
            hits += alone and best[probe] >= t
        return (unknown.max(1) >= t).mean(), hits / len(probes)

    assert outcome(threshold) == pytest.approx((outcome(threshold)[0], rate))
    assert outcome(threshold)[0] <= fpir
    candidates = [-np.inf, *np.nextafter(unknown.max(1), np.inf)]
    assert rate == pytest.approx(max(d for f, d in map(outcome, candidates) if f <= fpir))


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.9], [0.1, 0.5]])
    positive = np.array([[True, False], [False, False], [True, True]])
    assert mean_average_precision(scores, positive) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    known = np.array([[True, True], [False, False], [True, True]])
    assert mean_average_precision(scores, positive, known) == pytest.approx((1 + 1) / 2)


BAD = [
    (lambda: roc(np.array([1.0, np.nan]), np.array([True, False])), 'finite'),
    (lambda: roc(np.array([1.0]), np.array([True])), 'needs genuine and impostor pairs, got 1 and 0'),
    (lambda: roc(np.array([]), np.array([])), 'needs genuine and impostor pairs'),
    (lambda: verify_folds(np.array([np.inf, 0]), np.array([True, False]), np.array([0, 1])), 'finite'),
    (lambda: identify(np.zeros((1, 1)), np.array(['a']), np.array(['b'])), 'in the gallery'),
    (lambda: identify(np.zeros((0, 1)), np.array(['a']), np.array([])), 'at least one probe'),
    (lambda: identify(np.zeros((2, 1)), np.array(['a']), np.array(['a'])), r'must be \(1, 1\)'),
    (lambda: identify(np.full((1, 1), np.nan), np.array(['a']), np.array(['a'])), 'finite'),
    (
        lambda: detect_and_identify(
            np.zeros((1, 1)), np.array(['a']), np.array(['a']), np.zeros((0, 1)), [0.1]
        ),
        'non-mated probes',
    ),
    (lambda: mean_average_precision(np.zeros((2, 1)), np.zeros((2, 1), bool)), 'some image has'),
]


@pytest.mark.parametrize(('call', 'message'), BAD)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_person_and_one_pair():
    one = np.array(['a'])
    assert identify(np.array([[0.5]]), one, one).within(1) == 1
    curve = roc(np.array([0.9, 0.1]), np.array([True, False]))
    assert (area_under(curve), tar_at_far(curve, 0)[0]) == (1, 1)
