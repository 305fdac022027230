"""The kinds of galleries that one suite tests: each makes empty ones, and opens them again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.interface import GalleryLike

KINDS = ['folder']


class Kind:
    """Galleries in folders."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._numbers = count()

    @classmethod
    def opened(cls, name: str, folder: Path) -> Iterator[Kind]:
        """A place for galleries of a kind, as long as it is needed."""
        yield cls(str(folder))

    def made(
        self, dim: int, model: str, preprocessing: Any = None, made_with: Any = None, place: str | None = None
    ) -> GalleryLike:
        """An empty gallery, at a new place or at a given one."""
        place = place or f'{self.root}/g{next(self._numbers)}'
        return Gallery.create(place, dim, model, preprocessing, made_with=made_with)

    def open(self, place: str, read_only: bool | None = None) -> GalleryLike:
        """The gallery at a place."""
        return Gallery(place, read_only=read_only)
