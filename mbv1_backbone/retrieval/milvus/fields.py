"""The fields of a collection: an entry as a row, and back.

The primary key is made of the face itself, the image file's SHA-256 and the box in it, so the same face is
never there twice. Names, files and metadata can be asked for by hexadecimal digests of theirs alone: no text
of a user's is ever part of an expression, but for what ``<`` and ``>`` compare texts with.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.retrieval.conditions import attributes_of, metadata_json
from mbv1_backbone.retrieval.records import Entry
from mbv1_backbone.retrieval.schema import box_of, box_text

__all__ = [
    'ENTRY',
    'INDEXES',
    'collection_schema',
    'entry_of',
    'index_params',
    'key_of',
    'order_key',
    'row_bytes',
    'row_of',
    'search_params',
    'token',
    'value_token',
    'vector_of',
]

_TOKEN = 32  # hexadecimal digits
_TEXT = 65_535  # bytes of a text field, at most
_NAME = 4 * 4096  # bytes of a name or file: MAX_TEXT characters of UTF-8
_ATTRIBUTES = 4096  # elements of an array field, at most
_PLAIN_KEY = re.compile('[A-Za-z][A-Za-z0-9_]{0,63}')
ENTRY = (
    'identity', 'file', 'sha256', 'box', 'landmarks', 'detector_score', 'quality', 'added', 'metadata',
)  # fmt: skip
INDEXES = ('AUTOINDEX', 'FLAT', 'HNSW', 'DISKANN')  # of vectors, as Milvus calls them
_CANDIDATES = 128  # at least
_PARAMS: dict[str, dict[str, Any]] = {'HNSW': {'M': 16, 'efConstruction': 200}}


def collection_schema(pymilvus: Any, dim: int) -> Any:
    """The schema of a gallery's collection.

    Args:
        pymilvus: The library.
        dim: Values in an embedding.
    """
    kinds = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field('id', kinds.INT64, is_primary=True)
    schema.add_field('vector', kinds.FLOAT_VECTOR, dim=dim)
    schema.add_field('person', kinds.VARCHAR, max_length=_TOKEN, is_partition_key=True)
    schema.add_field('place', kinds.VARCHAR, max_length=_TOKEN)
    schema.add_field('sha256', kinds.VARCHAR, max_length=64)
    for name, length in (('identity', _NAME), ('file', _NAME), ('box', 64), ('landmarks', _TEXT)):
        schema.add_field(name, kinds.VARCHAR, max_length=length)
    for name in ('detector_score', 'quality'):
        schema.add_field(name, kinds.DOUBLE, nullable=True)
    schema.add_field('added', kinds.DOUBLE)
    schema.add_field('metadata', kinds.VARCHAR, max_length=_TEXT)
    schema.add_field(
        'attributes',
        kinds.ARRAY,
        element_type=kinds.VARCHAR,
        max_capacity=_ATTRIBUTES,
        max_length=_TOKEN,
    )
    schema.add_field('ordered', kinds.JSON)
    return schema


def index_params(pymilvus: Any, index: str, arrays: bool) -> Any:
    """The indexes of a gallery's collection.

    Args:
        pymilvus: The library.
        index: Of the vectors, one of ``INDEXES``.
        arrays: Whether the server can index the elements of arrays.

    Raises:
        InputError: If it is no such index.
    """
    if index not in INDEXES:
        raise InputError(
            f'the index of a gallery on Milvus is one of {", ".join(INDEXES)}, got {index!r:.60}'
        )
    params = pymilvus.MilvusClient.prepare_index_params()
    params.add_index('vector', index_type=index, metric_type='IP', params=_PARAMS.get(index, {}))
    for name in ('person', 'place', 'sha256', *(['attributes'] if arrays else [])):
        params.add_index(name, index_type='INVERTED')
    return params


def search_params(index: str, k: int) -> dict[str, Any]:
    """How widely an index of that type is searched: candidates enough for ``k`` matches.

    Args:
        index: One of ``INDEXES``.
        k: Matches of a probe.
    """
    candidates = {'HNSW': 'ef', 'DISKANN': 'search_list'}.get(index)
    return {'metric_type': 'IP', 'params': {candidates: max(_CANDIDATES, k)} if candidates else {}}


def token(*texts: str) -> str:
    """A digest that stands for texts in expressions: 32 hexadecimal digits of BLAKE2b."""
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=_TOKEN // 2).hexdigest()


def key_of(sha256: str, box: str, salt: int) -> int:
    """The id of a face: 62 bits of a digest.

    Args:
        sha256: Of the image file.
        box: As ``box_text`` writes it.
        salt: 0; another where a different face has the id already.
    """
    digest = hashlib.blake2b(f'{sha256} {box} {salt}'.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 2


def order_key(key: str) -> str:
    """The key of a metadata value in the field ``ordered``: as it is where that is plain, else a digest."""
    return key if _PLAIN_KEY.fullmatch(key) else f'_{token("key", key)}'


def row_of(entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    """An entry as a row.

    Args:
        entry: Checked, with its id.
        vector: float32 (dim,), of length 1.

    Raises:
        InputError: If it has more metadata than Milvus keeps.
    """
    text = metadata_json(entry.metadata)
    rows = attributes_of(text)
    tokens = [one for key, kind, value in rows for one in _tokens(key, kind, value)]
    ordered = {order_key(key): value for key, kind, value in rows if kind in ('int', 'real', 'text')}
    size = max(len(text.encode()), len(json.dumps(ordered, ensure_ascii=False).encode()))
    if size > _TEXT or len(tokens) > _ATTRIBUTES:
        raise InputError(
            f'{entry.file:.100}: Milvus keeps up to {_TEXT} bytes of metadata and {_ATTRIBUTES // 3} keys, '
            f'got {size} bytes and {len(rows)} keys'
        )
    return {
        'id': entry.id,
        'vector': np.ascontiguousarray(vector, np.float32),
        'person': token('identity', entry.identity),
        'place': token('file', entry.file),
        'identity': entry.identity,
        'file': entry.file,
        'sha256': entry.sha256,
        'box': box_text(entry.box),
        'landmarks': '' if entry.landmarks is None else json.dumps(entry.landmarks),
        'detector_score': entry.detector_score,
        'quality': entry.quality,
        'added': entry.added,
        'metadata': text,
        'attributes': tokens,
        'ordered': ordered,
    }


def _tokens(key: str, kind: str, value: Any) -> tuple[str, str, str]:
    """What can be asked of a metadata value: whether its key is there, of which kind it is, what it is."""
    return token('key', key), token('key', key, kind), value_token(key, kind, value)


def value_token(key: str, kind: str, value: Any) -> str:
    """The digest of a metadata value; -0.0 is 0.0, as SQLite compares them.

    Args:
        key: Of the metadata.
        kind: And ``value``, as ``conditions.typed`` gives them.
        value: What is stored.
    """
    return token('key', key, kind, json.dumps(value + 0.0 if kind == 'real' else value))


def row_bytes(row: dict[str, Any]) -> int:
    """About how many bytes a row takes in a request."""
    texts = sum(len(row[name]) for name in ('identity', 'file', 'landmarks', 'metadata'))
    return int(row['vector'].nbytes) + 4 * texts + 40 * len(row['attributes']) + 400


def entry_of(row: dict[str, Any], place: str) -> Entry:
    """The entry of a row.

    Args:
        row: With the fields ``ENTRY``.
        place: Of the gallery, for the message.

    Raises:
        DamagedFileError: If it is not as this project writes it.
    """
    try:
        landmarks = row['landmarks']
        points = tuple(map(tuple, json.loads(landmarks))) if landmarks else None
        return Entry(
            int(row['id']),
            row['identity'],
            row['file'],
            row['sha256'],
            row['added'],
            json.loads(row['metadata']),
            box_of(row['box']),
            points,
            row['detector_score'],
            row['quality'],
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DamagedFileError(f'{place}: entry {row.get("id")} is damaged: {error}') from error


def vector_of(row: dict[str, Any]) -> np.ndarray:
    """The embedding of a row, float32 (dim,)."""
    return np.asarray(row['vector'], np.float32)
