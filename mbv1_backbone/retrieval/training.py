"""Training an index on a sample of its vectors."""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
from faiss.contrib.clustering import two_level_clustering

from mbv1_backbone.retrieval.factories import SEVERAL, candidates_of, centres, inner_of, transforms_of
from mbv1_backbone.retrieval.vectors import BLOCK, Vectors

__all__ = ['are_uneven', 'train']

_TRAINING = 64  # vectors a centre that an index is trained on
_TRAINING_LEAST = 10_000
_TWO_LEVELS = 16384  # lists from which centres are found in two steps
_SCALAR_MARGIN = 0.25  # share of a value's range that a scalar quantiser leaves on either side
_SEED = 1234
_ROUNDS = 3  # of k-means among people: eight find no more, made-up or real-like
_IMAGES = 6  # of a person that its mean is taken of
_MEANS = 16  # people a centre, at most
_UNEVEN = 16  # times the mean length of a list, that one person may have
_UNEVEN_DIRECTIONS = 0.8  # geometric mean of variances, against their mean
_COMPARED = 8.0  # times the lists that are wanted, that are compared exactly where centres have codes


def train(index: Any, vectors: Vectors) -> None:
    """Train an index on a sample of vectors.

    Where people have several images each, the centres of the lists are those of people's means, so that
    images of one person lie in one list: of a million of 50,000 people in 16,384 lists, 2 hold .995 of the
    nearest; of as many lists that were trained on images in two steps, 64 hold .894.

    Else the centres of very many lists are found in two steps, which is far sooner done; of fewer by
    FAISS's own k-means, whose lists are better: of 100,000 vectors in 1024 lists, 8 hold .995 of the nearest,
    not .963.

    An optimised product quantiser (``OPQ``) is the parametric one of https://doi.org/10.1109/CVPR.2013.379,
    4.2: it takes a thousandth of FAISS's time, and of 200,000 embeddings alike to real ones the 150 first of
    64 codes of four bits hold .9965 of the nearest, without it .9825.
    """
    candidates, wanted = candidates_of(index), centres(index)
    transforms = transforms_of(candidates)
    for transform in transforms:
        if isinstance(transform, faiss.OPQMatrix) and transform is transforms[0]:
            _rotate(transform, _sample(vectors, 1))
    lists = inner_of(candidates)
    if isinstance(lists, faiss.IndexIVF) and all(transform.is_trained for transform in transforms):
        quantizer = faiss.downcast_index(lists.quantizer)
        if isinstance(quantizer, faiss.IndexRefine):
            quantizer.k_factor = _COMPARED
            coded = faiss.downcast_index(quantizer.base_index)
            if hasattr(coded, 'pq'):
                coded.pq.cp.min_points_per_centroid = 1  # no warnings
        if (found := _centres(vectors, lists.nlist, wanted)) is not None:
            for transform in transforms:
                found = transform.apply(found)
            quantizer.train(found)
            quantizer.add(found)
            wanted = lists.pq.ksub if hasattr(lists, 'pq') else 1
    for quantised in (inner_of(candidates), *_refinement(index)):
        if hasattr(quantised, 'sq'):  # later vectors may go beyond the range of the sample
            quantised.sq.rangestat = faiss.ScalarQuantizer.RS_minmax
            quantised.sq.rangestat_arg = _SCALAR_MARGIN
    index.train(_sample(vectors, wanted))


def are_uneven(vectors: Vectors) -> bool:
    """Whether vectors vary much more in some directions than in others: then a rotation makes codes better.

    Args:
        vectors: At least some hundred.
    """
    variances = np.maximum(_axes(_sample(vectors, 1))[0], 1e-12)
    return float(np.exp(np.log(variances).mean())) < _UNEVEN_DIRECTIONS * float(variances.mean())


def _axes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second moments (D,) of vectors (N, D) along their principal axes, descending, and these (D, D)."""
    moments, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors / len(vectors))
    return moments[::-1], axes.T[::-1]


def _rotate(transform: Any, vectors: np.ndarray) -> None:
    """Train an ``OPQMatrix``: principal axes, dealt out so that moments of every part have one product."""
    moments, axes = _axes(vectors)
    logarithms = np.log(np.maximum(moments[: transform.d_out] / max(moments[0], 1e-12), 1e-12))
    parts: list[list[int]] = [[] for _ in range(transform.M)]
    products: np.ndarray = np.zeros(transform.M)
    for axis, logarithm in enumerate(logarithms - logarithms.min()):
        part = int(np.argmin(products))
        parts[part].append(axis)
        products[part] += logarithm
        if len(parts[part]) == transform.d_out // transform.M:
            products[part] = np.inf
    matrix = np.ascontiguousarray(axes[[axis for part in parts for axis in part]], np.float32)
    faiss.copy_array_to_vector(matrix.ravel(), transform.A)
    transform.is_trained = True


def _centres(vectors: Vectors, lists: int, wanted: int) -> np.ndarray | None:
    """Centres (lists, dimension) of lists; None where FAISS's own training finds them.

    Args:
        vectors: To be listed.
        lists: How many.
        wanted: Centres that the sample is to suffice for.
    """
    options: dict[str, Any] = dict(spherical=True, seed=_SEED, min_points_per_centroid=1)  # 1: no warnings
    if (means := _means(vectors, lists)) is not None:
        options |= dict(niter=_ROUNDS, max_points_per_centroid=_MEANS)
        clustering = faiss.Kmeans(means.shape[1], lists, **options)
        clustering.train(means)
        return clustering.centroids
    if lists >= _TWO_LEVELS:
        return two_level_clustering(_sample(vectors, wanted), round(math.sqrt(lists)), lists, **options)[0]
    return None


def _means(vectors: Vectors, lists: int) -> np.ndarray | None:
    """Means (N, dimension), of length 1, of people's vectors; None where people make no even lists."""
    people = vectors.people
    if people is None or not len(people):
        return None
    sizes = np.bincount(people)
    several = len(people) >= SEVERAL * len(sizes) and len(sizes) >= 2 * lists
    if not several or sizes.max() * lists > _UNEVEN * len(people):
        return None
    generator = np.random.default_rng(_SEED)
    numbers = np.full(len(sizes), -1)  # of those that are drawn
    drawn = generator.permutation(len(sizes))[: _MEANS * lists]
    numbers[drawn] = np.arange(len(drawn))
    order = np.lexsort((generator.random(len(people), np.float32), people))
    place = np.arange(len(people)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = np.sort(order[(place < _IMAGES) & (numbers[people[order]] >= 0)])
    sums: np.ndarray = np.zeros((len(drawn), vectors.dim), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        np.add.at(sums, numbers[people[part]], vectors.some(part))
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def _refinement(index: Any) -> list[Any]:
    return [faiss.downcast_index(index.refine_index)] if isinstance(index, faiss.IndexRefine) else []


def _sample(vectors: Vectors, wanted: int) -> np.ndarray:
    """Vectors (N, dimension) to train on, drawn without order."""
    most = max(_TRAINING * wanted, _TRAINING_LEAST)
    rows: np.ndarray = np.arange(len(vectors))
    if len(vectors) > most:
        rows = np.sort(np.random.default_rng(_SEED).choice(len(vectors), most, replace=False))
    return np.ascontiguousarray(vectors.some(rows), np.float32)
