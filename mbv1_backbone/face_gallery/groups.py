"""Contact sheets of the groups that clustering has found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mbv1_backbone.face.evaluation.drawing import GOOD, Tile, contact_sheet
from mbv1_backbone.face_gallery.pictures import SIDE, entry_picture
from mbv1_backbone.retrieval import GalleryLike, Group, Grouping

__all__ = ['draw_groups']

_COLUMNS = 8
_MAX_FACES = 160  # on a sheet
_ABREAST, _FACES = 3, 3  # groups in a row of the overview, and faces of each
_OVERVIEW = 20 * _ABREAST  # groups in it, the largest


def draw_groups(gallery: GalleryLike, grouping: Grouping, folder: str | Path) -> list[Path]:
    """Write a contact sheet a group, one of the largest groups together, and one of the faces in none.

    Under each face are the number of its entry, by which ``split`` and ``correct`` know it, and its file.

    Args:
        gallery: Whose groups they are.
        grouping: What ``cluster`` found.
        folder: For ``overview.png``, ``group-*.png`` and ``alone.png``.

    Returns:
        The files; of none where there are no faces.
    """
    folder = Path(folder)
    written = []
    if grouping.groups:
        blocks = [_block(gallery, group) for group in grouping.groups[:_OVERVIEW]]
        rows = [
            [tile for block in blocks[begin : begin + _ABREAST] for tile in block]
            for begin in range(0, len(blocks), _ABREAST)
        ]
        written.append(contact_sheet(rows, folder / 'overview.png', SIDE))
    for group in grouping.groups:
        written.append(_sheet(gallery, group.ids, folder / f'{group.identity}.png'))
    if grouping.alone:
        written.append(_sheet(gallery, grouping.alone, folder / 'alone.png'))
    return written


def _block(gallery: GalleryLike, group: Group) -> list[Tile]:
    """A group's first faces; under the first one what it is, and a place that stays empty after the last."""
    like = f'like {group.like[0]} {group.like[1]:.2f}' if group.like else f'cohesion {group.cohesion:.2f}'
    tiles = _tiles(gallery, group.ids[:_FACES])
    tiles[0] = Tile(tiles[0].image, [group.identity, f'{len(group.ids)} faces', like], GOOD)
    return tiles + [Tile(None)] * (_FACES + 1 - len(tiles))


def _sheet(gallery: GalleryLike, ids: Sequence[int], path: Path) -> Path:
    tiles = _tiles(gallery, ids[:_MAX_FACES])
    if left := len(ids) - len(tiles):
        tiles.append(Tile(None, [f'and {left} more']))
    rows = [tiles[begin : begin + _COLUMNS] for begin in range(0, len(tiles), _COLUMNS)]
    return contact_sheet(rows, path, SIDE)


def _tiles(gallery: GalleryLike, ids: Sequence[int]) -> list[Tile]:
    entries = [gallery.get(entry_id) for entry_id in ids]
    return [Tile(entry_picture(entry), [str(entry.id), Path(entry.file).name]) for entry in entries]
