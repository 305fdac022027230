"""Galleries that a verb opens, or makes and fills: where the filling fails, nothing is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, GalleryLike, open_gallery
from mbv1_backbone.retrieval.milvus.address import is_address
from mbv1_backbone.retrieval.places import discard_gallery, gallery_exists

__all__ = ['made_gallery', 'open_folder', 'opened_or_made', 'refuse_address']

_CORRECTIONS = 'it keeps no corrections; mbv1 gallery copy makes a folder of it, where they are kept'
_OWN_INDEX = 'the server keeps its files and its index by itself'
_FOLDERS_ALONE = {  # verbs, and why
    'backup': "Milvus' own tool copies collections (milvus-backup); mbv1 gallery copy makes a folder of it",
    'cluster': _CORRECTIONS,
    'correct': _CORRECTIONS,
    'split': _CORRECTIONS,
    'compact': _OWN_INDEX,
    'rebuild': _OWN_INDEX,
    'repair': _OWN_INDEX,
    'search --recall': 'how widely it searches is set at its index',
}


def open_folder(place: str, verb: str) -> Gallery:
    """The gallery in a folder, for a verb that one on Milvus does not have.

    Args:
        place: Of the gallery.
        verb: The verb's name.

    Raises:
        InputError: If the gallery is on Milvus; the message says why it has no such verb.
    """
    refuse_address(place, verb)
    return Gallery(place)


def refuse_address(place: str, verb: str) -> None:
    """Refuse a gallery on Milvus for a verb that it does not have.

    Raises:
        InputError: If it is on Milvus.
    """
    if is_address(place):
        raise InputError(f'{place}: a gallery on Milvus has no {verb}: {_FOLDERS_ALONE[verb]}')


@contextmanager
def made_gallery(place: str, make: Callable[[], GalleryLike]) -> Iterator[GalleryLike]:
    """A new gallery, to be filled inside; after an error it is gone, and the next run finds the place free.

    What is stopped by hand keeps the entries that are in it already.

    Args:
        place: Of the gallery.
        make: Makes it.
    """
    there = not is_address(place) and Path(place).exists()
    gallery = make()
    filled = False
    try:
        with gallery:
            try:
                yield gallery
            except KeyboardInterrupt:
                filled = len(gallery) > 0
                raise
    except BaseException:
        if not filled:
            discard_gallery(place, keep=there)
        raise


@contextmanager
def opened_or_made(place: str, make: Callable[[], GalleryLike]) -> Iterator[GalleryLike]:
    """The gallery that is there, or ``made_gallery``."""
    with open_gallery(place) if gallery_exists(place) else made_gallery(place, make) as gallery:
        yield gallery
