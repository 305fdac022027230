"""Galleries that a verb makes and fills: where the filling fails, nothing is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.opening import discard

__all__ = ['made_gallery', 'opened_or_made']


@contextmanager
def made_gallery(folder: str, make: Callable[[], Gallery]) -> Iterator[Gallery]:
    """A new gallery, to be filled inside; after an error it is gone, and the next run finds the place free.

    What is stopped by hand keeps the entries that are in it already.

    Args:
        folder: Of the gallery.
        make: Makes it.
    """
    there = Path(folder).exists()
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
            discard(Path(folder), keep=there)
        raise


@contextmanager
def opened_or_made(folder: str, make: Callable[[], Gallery]) -> Iterator[Gallery]:
    """The gallery that is there, or ``made_gallery``."""
    with Gallery(folder) if Path(folder).exists() else made_gallery(folder, make) as gallery:
        yield gallery
