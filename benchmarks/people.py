"""People for the benchmark of galleries: made up, all alike, or drawn from a fit to real embeddings.

Real people differ: some look alike on every photograph, others never, and embeddings fill fewer directions
than they have values. A fit holds the mean of the embeddings, how people differ from each other and how
photographs of one person do (two covariances), and how much the latter varies by person and by photograph.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mbv1_backbone.common.errors import InputError

DIM = 128
IMAGES = (1, 3, 20)  # of a person, each for a third of the entries
PROBES = 2000
_MADE_UP_IMAGES = 20
_SHIPPED = Path(__file__).with_name('people_fit.json')
_PART = 100_000  # entries that are drawn at once
_SPREADS: np.ndarray = np.arange(0, 1.21, 0.1)  # standard deviations of log variances that are tried
_FACTORS: np.ndarray = np.arange(1, 1.51, 0.1)  # of the variance within
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of genuine scores that a fit is to have


@dataclass(frozen=True)
class People:
    """Embeddings to enrol, and further photographs of the same people.

    Attributes:
        vectors: float32 (N, D), of length 1.
        people: int64 (N,), the person of each; a person's entries are neighbours.
        probes: float32 (P, D), of length 1: photographs that are not enrolled.
        probe_people: int64 (P,).
    """

    vectors: np.ndarray
    people: np.ndarray
    probes: np.ndarray
    probe_people: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What real embeddings are like: ``mean + between z_person + scale within z_image``, of length 1.

    Attributes:
        mean: (D,).
        between: (D, D), a root of the covariance of people.
        within: (D, D), a root of the covariance of a person's photographs.
        spread: Standard deviation of the logarithm of the variance within, by person and again by photograph.
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    spread: float

    def draw(self, count: int, images: Sequence[int] = IMAGES, probes: int = PROBES, seed: int = 0) -> People:
        """People of whom an equal share of the entries has each number of images, in random order.

        Args:
            count: Entries.
            images: Numbers of images that a person has.
            probes: Photographs of enrolled people, as many of each as the person has entries on average.
            seed: Of the generator.
        """
        generator = np.random.default_rng(seed)
        people = _persons(count, images, generator)
        persons = int(people[-1]) + 1
        places = (generator.standard_normal((persons, len(self.mean)), np.float32) @ self.between).astype(
            np.float32
        )
        places += self.mean.astype(np.float32)
        scales = self._scales(persons, generator)
        probe_people = people[generator.integers(0, count, probes)]

        def photographs(of: np.ndarray) -> np.ndarray:
            noise = generator.standard_normal((len(of), len(self.mean)), np.float32)
            noise = noise @ self.within.astype(np.float32)
            return normalised(places[of] + (scales[of] * self._scales(len(of), generator))[:, None] * noise)

        vectors: np.ndarray = np.empty((count, len(self.mean)), np.float32)
        for first in range(0, count, _PART):
            vectors[first : first + _PART] = photographs(people[first : first + _PART])
        return People(vectors, people, photographs(probe_people), probe_people)

    def _scales(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """float32 (count,): factors of the deviation, whose mean square is 1."""
        logarithms = self.spread * generator.standard_normal(count, np.float32) - self.spread**2 / 2
        return np.exp(logarithms / 2)


def made_up(count: int, probes: int = PROBES, seed: int = 0) -> People:
    """People with 20 images each, all alike, in all directions: 128 values, cosine of a pair .735.

    Args:
        count: Entries.
        probes: Further photographs.
        seed: Of the generator.
    """
    generator = np.random.default_rng(seed)
    places = generator.normal(size=(-(-count // _MADE_UP_IMAGES), DIM)).astype(np.float32)
    people: np.ndarray = np.arange(count) // _MADE_UP_IMAGES
    probe_people = generator.integers(0, len(places), probes)
    vectors, more = (
        normalised(places[of] + 0.6 * generator.standard_normal((len(of), DIM), np.float32))
        for of in (people, probe_people)
    )
    return People(vectors, people, more, probe_people)


def shipped() -> Fit:
    """The fit to embeddings that a student of gray faces, 1.0-160, makes of LFW's photographs.

    The file holds variances along the axes of the people's covariance only. They are turned at random, as
    a network's values are no such axes, and product quantisers would profit from them.
    """
    numbers = json.loads(_SHIPPED.read_text())
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
    between, within = (np.sqrt(numbers[name])[:, None] * turned for name in ('between', 'within'))
    return Fit(np.array(numbers['mean']) @ turned, between, within, numbers['spread'])


def fit(vectors: np.ndarray, people: np.ndarray) -> Fit:
    """Fit to real embeddings (N, D) of people (N,), of whom some have several.

    Covariances are those of a one-way analysis of variance with groups of unequal size; the spread, and a
    factor of the variance within, which shrinks when vectors are brought to length 1, are those whose genuine
    scores have the quantiles of the real ones.

    Raises:
        InputError: If there are fewer people than values, or none has two embeddings.
    """
    people = np.unique(people, return_inverse=True)[1]
    sizes = np.bincount(people)
    if len(sizes) <= vectors.shape[1] or len(vectors) < len(sizes) + vectors.shape[1]:
        raise InputError(
            f'a fit of {vectors.shape[1]} values needs more people than values, and as many further '
            f'embeddings of the same people; got {len(vectors)} embeddings of {len(sizes)} people'
        )
    vectors = normalised(np.asarray(vectors, np.float64))
    means: np.ndarray = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(means, people, vectors)
    means /= sizes[:, None]
    rest = vectors - means[people]
    within = rest.T @ rest / (len(vectors) - len(sizes))
    between = np.cov(means.T) - within * (1 / sizes).mean()
    found = Fit(means.mean(axis=0), _root(between), _root(within), 0.0)
    real = np.quantile(genuine_scores(vectors, people), _QUANTILES)
    tried = (
        replace(found, within=np.sqrt(factor) * found.within, spread=float(spread))
        for spread in _SPREADS
        for factor in _FACTORS
    )
    return min(tried, key=lambda one: _misfit(one, real))


def statistics(people: People, seed: int = 0) -> dict[str, float]:
    """Figures to compare people with real ones by.

    Args:
        people: Whose; the first 100,000 entries count.
        seed: Of the pairs that are drawn.

    Returns:
        ``twonn``, the intrinsic dimension of one image a person (https://doi.org/10.1038/s41598-017-11873-y);
        mean and standard deviation of genuine and of impostor scores, and the impostors' quantile .9999.
    """
    vectors, who = people.vectors[:_PART], people.people[:_PART]
    generator = np.random.default_rng(seed)
    genuine = genuine_scores(vectors, who)
    one, other = generator.integers(0, len(vectors), (2, 400_000))
    different = who[one] != who[other]
    impostor = np.einsum('nd,nd->n', vectors[one[different]], vectors[other[different]])
    found = dict(twonn=two_nn(vectors[np.unique(who, return_index=True)[1]]))
    for name, scores in (('genuine', genuine), ('impostor', impostor)):
        if len(scores):
            found |= {f'{name}_mean': float(scores.mean()), f'{name}_sd': float(scores.std())}
    return found | dict(impostor_9999=float(np.quantile(impostor, 0.9999)))


def statistics_of(vectors: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """The same of real embeddings (N, D) of people (N,)."""
    vectors, who = normalised(vectors), np.unique(people, return_inverse=True)[1]
    return statistics(People(vectors, who, vectors[:0], who[:0]))


def two_nn(vectors: np.ndarray, sample: int = 5000) -> float:
    """Intrinsic dimension by the ratio of the distances to the two nearest, of at most ``sample`` vectors."""
    scores = faiss.knn(vectors[:sample], vectors, 3, faiss.METRIC_INNER_PRODUCT)[0]
    distances = np.sqrt(np.maximum(2 - 2 * scores[:, 1:].astype(np.float64), 1e-12))
    return float(1 / np.log(distances[:, 1] / distances[:, 0]).mean())


def genuine_scores(vectors: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Cosines of pairs of one person: each entry with that person's next."""
    order = np.argsort(people, kind='stable')
    same = np.flatnonzero(people[order[1:]] == people[order[:-1]])
    return np.einsum('nd,nd->n', vectors[order[same]], vectors[order[same + 1]])


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) and people (N,) of a gallery, its export, or an ``.npz`` file.

    The last has ``embeddings`` (N, D), and ``identities`` (N,) or ``files`` (N,), such as ``ada/1.jpg``.

    Raises:
        InputError: If it is none of these.
    """
    from mbv1_backbone.retrieval import Gallery
    from mbv1_backbone.retrieval.export import read_entries

    path = Path(path)
    if path.is_dir():
        with Gallery(path, read_only=True) as gallery:
            return _columns(path, gallery.entries_with_vectors())
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            if 'embeddings' not in names:
                return _columns(path, read_entries(path))
            vectors = np.asarray(file['embeddings'], np.float32)
            if 'identities' in names:
                people = file['identities']
            else:
                people = np.array([_person_of(Path(str(name))) for name in file['files']])
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'--real {path}: not a gallery, nor a file of embeddings: {error}') from error
    if vectors.ndim != 2 or people.shape != (len(vectors),):
        raise InputError(f'--real {path}: embeddings {vectors.shape} of people {people.shape}')
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
        raise InputError(f'--real {path}: embeddings must be finite and not zero')
    return vectors, people


def _person_of(file: Path) -> str:
    return file.parent.name or file.stem.rpartition('_')[0]


def _columns(path: Path, entries: Any) -> tuple[np.ndarray, np.ndarray]:
    found = [(vector, entry.identity) for entry, vector in entries]
    if not found:
        raise InputError(f'--real {path}: no entries')
    return np.stack([vector for vector, _ in found]), np.array([identity for _, identity in found])


def _persons(count: int, images: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """int64 (count,): the person of each entry, ascending."""
    share = -(-count // len(images))
    sizes = np.concatenate([np.full(-(-share // number), number) for number in images])
    generator.shuffle(sizes)
    return np.repeat(np.arange(len(sizes)), sizes)[:count]


def _root(covariance: np.ndarray) -> np.ndarray:
    variances, axes = np.linalg.eigh(covariance)
    return np.sqrt(np.clip(variances, 0, None))[:, None] * axes.T


def _misfit(one: Fit, real: np.ndarray) -> float:
    drawn = one.draw(10_000, images=(2,), probes=0)
    return float(np.abs(np.quantile(genuine_scores(drawn.vectors, drawn.people), _QUANTILES) - real).mean())
