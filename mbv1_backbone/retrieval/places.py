"""Galleries by their place: a folder, or ``milvus://HOST:PORT/NAME``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.gallery import Gallery
from mbv1_backbone.retrieval.interface import GalleryLike
from mbv1_backbone.retrieval.milvus.address import is_address
from mbv1_backbone.retrieval.milvus.gallery import MilvusGallery
from mbv1_backbone.retrieval.milvus.opening import collection_exists, drop_collection
from mbv1_backbone.retrieval.milvus.server import server_timeout
from mbv1_backbone.retrieval.opening import discard

__all__ = ['create_gallery', 'discard_gallery', 'gallery_exists', 'open_gallery']

_TIMEOUT = 10.0  # seconds


def open_gallery(
    place: str | os.PathLike[str], timeout: float | None = None, read_only: bool | None = None
) -> GalleryLike:
    """Open a gallery.

    Args:
        place: A folder (SQLite and FAISS), or ``milvus://HOST:PORT/NAME`` (``milvus+https://`` with TLS): a
            collection on a Milvus server. A token (``USER:PASSWORD``) is read from ``MBV1_MILVUS_TOKEN``, a
            file of certificates from ``MBV1_MILVUS_CA``.
        timeout: Seconds to wait for another writer, or for the server; None for 10, or for the server what
            ``MBV1_MILVUS_TIMEOUT`` says.
        read_only: Whether to write nothing; by default so in a folder where nothing can be written.

    Raises:
        InputError: If there is none, or it is damaged.
        UnavailableError: If the server does not answer.
        NotInstalledError: If pymilvus is needed and not installed.

    Example:
        >>> with open_gallery('milvus://localhost:19530/people') as gallery:  # doctest: +SKIP
        ...     gallery.search(probes)
    """
    if is_address(place):
        return MilvusGallery(str(place), server_timeout(timeout), read_only)
    return Gallery(place, _TIMEOUT if timeout is None else timeout, read_only)


def create_gallery(
    place: str | os.PathLike[str],
    dim: int,
    model: str,
    preprocessing: Mapping[str, Any] | None = None,
    index: str | None = None,
    bytes_per_vector: int | None = None,
    made_with: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> GalleryLike:
    """Make an empty gallery; after an error nothing is left.

    Args:
        place: As of ``open_gallery``; a new or empty folder, or a collection that is not there.
        dim: Values in an embedding.
        model: Fingerprint of the model that makes the embeddings.
        preprocessing: How its images are prepared.
        index: FAISS's string for a folder's index, Milvus' type for a collection's; None chooses.
        bytes_per_vector: Memory that a chosen FAISS index may spend on a vector.
        made_with: What people call the model (``model``) and other parts.
        timeout: As of ``open_gallery``.

    Raises:
        InputError: If there is something already, or a value is wrong.
    """
    if not is_address(place):
        patience = _TIMEOUT if timeout is None else timeout
        return Gallery.create(place, dim, model, preprocessing, index, bytes_per_vector, patience, made_with)
    if bytes_per_vector is not None:
        raise InputError(
            f'{place}: bytes per vector are of FAISS: on Milvus the index decides (HNSW, DISKANN)'
        )
    return MilvusGallery.create(
        str(place), dim, model, preprocessing, index, server_timeout(timeout), made_with
    )


def gallery_exists(place: str | os.PathLike[str]) -> bool:
    """Whether there is something at a gallery's place."""
    return collection_exists(str(place), server_timeout(None)) if is_address(place) else Path(place).exists()


def discard_gallery(place: str | os.PathLike[str], keep: bool) -> None:
    """Remove a gallery that could not be made; a folder that was there before stays.

    Args:
        place: As of ``open_gallery``.
        keep: Whether the place was there before.
    """
    if is_address(place):
        drop_collection(str(place), server_timeout(None))
    else:
        discard(Path(place), keep)
