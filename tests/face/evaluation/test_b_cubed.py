"""B-cubed figures of groups, beside a loop over the faces and cases by hand."""

import numpy as np
import pytest

from mbv1_backbone.face.evaluation import b_cubed


def slow(people, groups):
    precision, recall = [], []
    for person, group in zip(people, groups, strict=True):
        mine = [p == person for p, g in zip(people, groups, strict=True) if g == group]
        found = [g == group for p, g in zip(people, groups, strict=True) if p == person]
        precision.append(sum(mine) / len(mine))
        recall.append(sum(found) / len(found))
    return np.mean(precision), np.mean(recall)


@pytest.mark.parametrize(
    ('people', 'groups', 'precision', 'recall'),
    [
        ('a', [0], 1, 1),
        ('aabb', [5, 5, 7, 7], 1, 1),
        ('aabb', [0, 0, 0, 0], 1 / 2, 1),
        ('aabb', [0, 1, 2, 3], 1, 1 / 2),
        ('aab', [0, 0, 0], 5 / 9, 1),
        ('aaab', [0, 0, 1, 1], 3 / 4, (2 * 2 / 3 + 1 / 3 + 1) / 4),
    ],
)
def test_cases_by_hand(people, groups, precision, recall):
    found = b_cubed(people, groups)
    assert (found.precision, found.recall) == (pytest.approx(precision), pytest.approx(recall))
    assert found.f == pytest.approx(2 * precision * recall / (precision + recall))
    assert (found.people, found.groups) == (len(set(people)), len(set(groups)))


def test_it_is_the_loop_over_the_faces():
    generator = np.random.default_rng(0)
    people, groups = generator.integers(0, 9, 80).tolist(), generator.integers(0, 12, 80).tolist()
    found = b_cubed(people, groups)
    assert (found.precision, found.recall) == pytest.approx(slow(people, groups))


@pytest.mark.parametrize(('people', 'groups'), [([], []), (['a'], []), (['a', 'b'], [0])])
def test_what_does_not_fit_together_is_refused(people, groups):
    with pytest.raises(ValueError, match='needs a group of each face'):
        b_cubed(people, groups)
