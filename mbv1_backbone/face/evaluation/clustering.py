"""How well groups of faces are the people they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ['BCubed', 'b_cubed']


@dataclass(frozen=True)
class BCubed:
    """B-cubed figures (Bagga and Baldwin 1998, https://aclanthology.org/P98-1012/).

    Attributes:
        precision: Mean over the faces of the share of their group that is of their person, 0..1.
        recall: Mean over the faces of the share of their person's faces that is in their group, 0..1.
        people: How many there are.
        groups: How many were found; a face alone is one.
    """

    precision: float
    recall: float
    people: int
    groups: int

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def b_cubed(people: Sequence[Hashable], groups: Sequence[Hashable]) -> BCubed:
    """Compare groups with the people.

    Args:
        people: Whose face each is, (N,).
        groups: Of which group each is, (N,).

    Raises:
        ValueError: If they are not equally many, or none.

    Example:
        >>> round(b_cubed(['Ada', 'Ada', 'Eve'], [0, 0, 0]).precision, 3)  # (2 / 3 + 2 / 3 + 1 / 3) / 3
        0.556
    """
    if len(people) != len(groups) or not len(people):
        raise ValueError(
            f'needs a group of each face, and a face: got {len(people)} people, {len(groups)} groups'
        )
    of_person, of_group = Counter(people), Counter(groups)
    both = Counter(zip(people, groups, strict=True))
    return BCubed(
        precision=sum(count * count / of_group[group] for (_, group), count in both.items()) / len(people),
        recall=sum(count * count / of_person[person] for (person, _), count in both.items()) / len(people),
        people=len(of_person),
        groups=len(of_group),
    )
