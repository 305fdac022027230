"""Which index for how many vectors, as FAISS's factory strings, and which of those a gallery can use.

One family serves all sizes: up to some thousand vectors all are compared (``Flat``); beyond, lists of short
codes that AVX2 or AVX-512 compares by table look-up (``PQ64x4fs``) give candidates, and the vectors
themselves in half precision (``Refine(SQfp16)``) put these in order. See
https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes-(FastScan).
"""

from __future__ import annotations

import math
import re
from typing import Any

import faiss

from mbv1_backbone.common.errors import InputError

__all__ = [
    'FLAT_LIMIT',
    'LEAST_TRAINING',
    'SEVERAL',
    'candidates_of',
    'centres',
    'choose_factory',
    'inner_of',
    'least_training',
    'make_index',
    'reason',
    'transforms_of',
    'usable_factory',
]

FLAT_LIMIT = 3000  # vectors up to which comparing with all is best
LEAST_TRAINING = 39  # vectors a centre that FAISS asks for
_HALF_CODES = 500_000  # vectors from which codes of half the length do, where they fall into clusters
_PEOPLE_PER_LIST = 3  # more of them hide each other: 12 of 20 images each take 30 times the lists
SEVERAL = 5  # images of a person on average, from which people are clusters
_CODED_LISTS = 8192  # from which the lists' centres have short codes, too
_MOST_LISTS = 16.0  # times the square root of the number of vectors
_MANY_LISTS = 4.0  # times the square root of the number of vectors, for vectors that fall into clusters
_FEW_LISTS = 0.5  # the same, for vectors that do not: nearly all lists are looked through anyway
_LARGEST = 2**20  # number in a factory string
_LEAST_SCALAR = 1000  # vectors that a scalar quantiser is trained on: it must see the range of every value


def choose_factory(
    count: int,
    dim: int,
    bytes_per_vector: int | None = None,
    clustered: bool = True,
    people: int | None = None,
    uneven: bool = False,
) -> str:
    """FAISS's factory string for a number of vectors.

    Args:
        count: Vectors that the index will hold.
        dim: Values in a vector.
        bytes_per_vector: Memory that may be spent on a vector; None for what is best.
        clustered: Whether near vectors are found in few lists: then there are many lists.
        people: Whose the vectors are, if known: where each has several, few people share a list.
        uneven: Whether they vary more in some directions than in others: then they are rotated for the codes.

    Raises:
        InputError: If not even the smallest code fits.

    Example:
        >>> choose_factory(1000, 128), choose_factory(100_000, 128)
        ('Flat', 'IVF1024,PQ64x4fs,Refine(SQfp16)')
        >>> choose_factory(1_000_000, 128, bytes_per_vector=200)
        'IVF4096,PQ32x4fs,Refine(SQ8)'
        >>> choose_factory(1_000_000, 128, people=50_000)
        'IVF16384(PQ64x4fs,RFlat),PQ32x4fs,Refine(SQfp16)'
        >>> choose_factory(1_000_000, 128, clustered=False, uneven=True)
        'OPQ64_128,IVF512,PQ64x4fs,Refine(SQfp16)'
    """
    code = _code(count, dim, bytes_per_vector, clustered)
    if count <= FLAT_LIMIT:
        return 'Flat'
    wanted = (_MANY_LISTS if clustered else _FEW_LISTS) * math.sqrt(count)
    if clustered and people and count >= SEVERAL * people:
        wanted = max(wanted, min(people / _PEOPLE_PER_LIST, _MOST_LISTS * math.sqrt(count)))
    lists = 2 ** round(math.log2(wanted))
    while LEAST_TRAINING * lists > count:
        lists //= 2
    short = f'(PQ{dim // 2}x4fs,RFlat)' if lists >= _CODED_LISTS and dim % 2 == 0 else ''
    pairs = re.match(r'PQ(\d+)', code)
    rotation = f'OPQ{pairs[1]}_{dim},' if uneven and pairs else ''
    return f'{rotation}IVF{lists}{short},{code}'


def _code(count: int, dim: int, bytes_per_vector: int | None, clustered: bool) -> str:
    large = count >= _HALF_CODES and dim % 4 == 0
    room = dim
    for pairs in [4] if large and clustered else [2, 4] if large else [2]:  # values in four bits
        short, room = ('SQ8', dim) if dim % pairs else (f'PQ{dim // pairs}x4fs', dim // pairs // 2)
        for refined, more in (('Refine(SQfp16)', 2 * dim), ('Refine(SQ8)', dim)):
            if bytes_per_vector is None or bytes_per_vector >= room + more:
                return f'{short},{refined}'
        if bytes_per_vector is not None and bytes_per_vector >= room:
            return short
    raise InputError(f'{bytes_per_vector} bytes a vector are too few for {dim} values: at least {room}')


def make_index(factory: str, dim: int) -> Any:
    """FAISS's index of a factory string, empty, for cosines of vectors of length 1.

    Raises:
        InputError: If FAISS does not know it, or a gallery cannot use its kind.
    """
    if not isinstance(factory, str) or any(int(number) > _LARGEST for number in re.findall(r'\d+', factory)):
        raise InputError(f'index {factory!r:.60} is not one of FAISS for {dim} values')
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError) as error:
        said = reason(error)
        raise InputError(f'index {factory!r} is not one of FAISS for {dim} values: {said}') from error
    base = candidates_of(index)
    inner = inner_of(base)
    usable = (faiss.IndexFlat, faiss.IndexScalarQuantizer, faiss.IndexHNSW, faiss.IndexIVF)
    if not isinstance(inner, usable) or (inner is not base and not isinstance(inner, faiss.IndexIVF)):
        raise InputError(
            f'index {factory!r}: a gallery uses Flat, SQ, HNSW and IVF, the last also after PCA or OPQ, '
            'each also with Refine; PQ only with IVF'
        )
    storage = faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else None
    if isinstance(storage, faiss.IndexPQ):  # its search takes no selector
        raise InputError(
            f'index {factory!r}: PQ cannot pass over removed entries, so a gallery uses it only with IVF'
        )
    return index


def usable_factory(factory: str, dim: int, count: int) -> str:
    """``factory``, or ``'Flat'`` while there are too few vectors to train it: 39 a centre.

    Args:
        factory: A FAISS factory string.
        dim: Of the vectors.
        count: Vectors to train it with.

    Raises:
        InputError: If it is not one that a gallery can use.
    """
    index = make_index(factory, dim)
    return factory if index.is_trained or count >= least_training(index) else 'Flat'


def candidates_of(index: Any) -> Any:
    """The index that gives candidates: the first part of a refined one, or the index itself."""
    return faiss.downcast_index(index.base_index) if isinstance(index, faiss.IndexRefine) else index


def inner_of(index: Any) -> Any:
    """The index behind a transformation of its vectors, or the index itself."""
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def transforms_of(candidates: Any) -> list[Any]:
    """FAISS's transformations of vectors before an index, in their order."""
    if not isinstance(candidates, faiss.IndexPreTransform):
        return []
    chain = candidates.chain
    return [faiss.downcast_VectorTransform(chain.at(place)) for place in range(chain.size())]


def centres(index: Any) -> int:
    """Centres that training looks for: lists of an IVF index, values of a product quantiser."""
    inner = inner_of(candidates_of(index))
    found = [int(inner.nlist)] if isinstance(inner, faiss.IndexIVF) else [1]
    if hasattr(inner, 'pq'):
        found.append(int(inner.pq.ksub))
    return max(found)


def least_training(index: Any) -> int:
    """Vectors without which an index cannot be trained well."""
    inner = inner_of(candidates_of(index))
    return max(LEAST_TRAINING * centres(index), _LEAST_SCALAR if hasattr(inner, 'sq') else 0)


def reason(error: Exception) -> str:
    """The last part of FAISS's message, which begins with its source file."""
    return str(error).strip().splitlines()[-1].rpartition('Error: ')[2][:200]
