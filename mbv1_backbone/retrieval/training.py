"""Training an index on a sample of its vectors."""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
from faiss.contrib.clustering import two_level_clustering

from mbv1_backbone.retrieval.factories import candidates_of, centres, inner_of
from mbv1_backbone.retrieval.vectors import Vectors

__all__ = ['train']

_TRAINING = 64  # vectors a centre that an index is trained on
_TRAINING_LEAST = 10_000
_TWO_LEVELS = 16384  # lists from which centres are found in two steps
_SCALAR_MARGIN = 0.25  # share of a value's range that a scalar quantiser leaves on either side
_SEED = 1234


def train(index: Any, vectors: Vectors) -> None:
    """Train an index on a sample of vectors.

    The centres of very many lists are found in two steps, which is far sooner done; of fewer by FAISS's own
    k-means, whose lists are better: of 100,000 vectors in 1024 lists, 8 hold .995 of the nearest, not .963.
    """
    sample = _sample(vectors, centres(index))
    candidates = candidates_of(index)
    if isinstance(candidates, faiss.IndexIVF) and candidates.nlist >= _TWO_LEVELS:
        first = round(math.sqrt(candidates.nlist))
        options = dict(spherical=True, seed=_SEED, min_points_per_centroid=1)  # one: no warnings
        found, _ = two_level_clustering(sample, first, candidates.nlist, **options)
        candidates.quantizer.add(found)
    for quantised in (inner_of(candidates), *_refinement(index)):
        if hasattr(quantised, 'sq'):  # later vectors may go beyond the range of the sample
            quantised.sq.rangestat = faiss.ScalarQuantizer.RS_minmax
            quantised.sq.rangestat_arg = _SCALAR_MARGIN
    index.train(sample)


def _refinement(index: Any) -> list[Any]:
    return [faiss.downcast_index(index.refine_index)] if isinstance(index, faiss.IndexRefine) else []


def _sample(vectors: Vectors, wanted: int) -> np.ndarray:
    """Vectors (N, dimension) to train on, drawn without order."""
    most = max(_TRAINING * wanted, _TRAINING_LEAST)
    rows: np.ndarray = np.arange(len(vectors))
    if len(vectors) > most:
        rows = np.sort(np.random.default_rng(_SEED).choice(len(vectors), most, replace=False))
    return np.ascontiguousarray(vectors.some(rows), np.float32)
