"""Maps, at places whose colour is known."""

import numpy as np
import pytest

from mbv1_backbone.classification.maps import Mark, View, draw_map, shades_of, view_around
from mbv1_backbone.classification.s2_cells import cell_ids, cell_outline, parents


def colour_at(picture, view, latitude, longitude):
    x, y = view.pixels(np.array([[latitude, longitude]])).round().astype(int)[0]
    return picture[y, x].astype(int)


def cell_of(latitude, longitude, level):
    return int(parents(cell_ids(np.array([latitude]), np.array([longitude])), level)[0])


def test_land_and_sea_differ():
    view, picture = View(), draw_map()
    france, sahara = colour_at(picture, view, 46.5, 2.5), colour_at(picture, view, 22, 5)
    atlantic, pacific = colour_at(picture, view, 30, -40), colour_at(picture, view, 0, -150)
    assert (france == sahara).all()
    assert (atlantic == pacific).all()
    assert np.abs(france - atlantic).max() > 5


@pytest.mark.parametrize(
    ('places', 'world'),
    [
        ([(45, 15)], False),
        ([(45, 15), (46, 16.5)], False),
        ([(-17, 178.5), (-18, -179)], False),
        ([(45, 15), (-35, 175)], True),
        ([(89.5, 10), (88, 12)], False),
    ],
)
def test_a_view_shows_all_its_places(places, world):
    view = view_around(np.array(places, np.float64))
    assert (view == View()) == world
    width, height = view.size
    for latitude, longitude in places:
        turned = (longitude - view.west) % 360 + view.west
        x, y = view.pixels(np.array([[latitude, turned]]))[0]
        assert 0 < x < width
        assert 0 < y < height


def test_a_cell_is_coloured_inside_and_not_outside():
    view = View(40, 50, 10, 20)
    plain, coloured = draw_map(view), draw_map(view, [cell_of(45, 15, 7)], [1.0])
    assert np.abs(colour_at(coloured, view, 45, 15) - colour_at(plain, view, 45, 15)).max() > 50
    assert (colour_at(coloured, view, 48, 12) == colour_at(plain, view, 48, 12)).all()


@pytest.mark.parametrize(('latitude', 'longitude'), [(0, 179.9), (0, -179.9), (88, 45), (-88, -100), (75, 0)])
def test_cells_at_poles_and_where_longitudes_begin_anew_stay_small(latitude, longitude):
    view = View(-90, 90, -180, 180)
    changed = (draw_map(view, [cell_of(latitude, longitude, 3)], [1.0]) != draw_map(view)).any(2)
    assert changed.any()
    assert changed.mean() < 0.1
    assert (
        colour_at(draw_map(view, [cell_of(latitude, longitude, 3)], [1.0]), view, 0, 10)
        == colour_at(draw_map(view), view, 0, 10)
    ).all()


def test_a_tiny_cell_is_seen():
    view = View()
    changed = (draw_map(view, [cell_of(45, 15, 16)], [0.0]) != draw_map(view)).any(2)
    assert 9 <= changed.sum() <= 130
    assert np.abs(np.argwhere(changed).mean(0)[::-1] - view.pixels(np.array([[45, 15]]))[0]).max() < 3


def test_marks_title_and_inset_are_drawn():
    view = View(40, 50, 10, 20)
    plain = draw_map(view)
    marked = draw_map(view, marks=[Mark((45, 15), '1: 90 %', (1, 2, 3))])
    assert colour_at(marked, view, 45, 15).tolist() == [1, 2, 3]
    titled = draw_map(view, title='photo.jpg')
    assert titled.shape[0] > plain.shape[0]
    assert (titled[-plain.shape[0] :] == plain).all()
    photo = np.full((30, 40, 3), (9, 99, 199), np.uint8)
    inset = draw_map(view, inset=photo)
    assert (inset == (9, 99, 199)).all(2).sum() == 192 * 144  # a fifth of the width


def test_captions_of_one_place_stand_below_one_another():
    view = View(40, 50, 10, 20)
    plain = draw_map(view)

    def rows(count):
        drawn = draw_map(view, marks=[Mark((45, 15), f'{k}: 9 %') for k in range(count)])
        return int((drawn != plain).any((1, 2)).sum())

    assert rows(3) > 2 * rows(1)


def test_shades_grow_with_photographs():
    assert shades_of(np.array([9, 0, 99])) == pytest.approx([0.5, 0, 1])


@pytest.mark.parametrize('places', [[(45.0, 16.0), (47.0, 17.0)], [(-75.0, 0.0), (60.0, 90.0)]])
def test_a_view_holds_all_of_its_cells_and_marks(places):
    """It ended where the marks did; of the world everything beyond 60 degrees south was left out."""
    cells = [cell_of(*place, level=3) for place in places]
    view = view_around(np.array(places), cells)
    for latitude, _ in places:
        assert view.south <= latitude <= view.north
    outline = np.concatenate([cell_outline(cell) for cell in cells])
    assert view.south <= outline[:, 0].min()
    assert outline[:, 0].max() <= view.north


def test_a_photograph_of_one_pixels_width_is_drawn():
    assert draw_map(inset=np.zeros((30000, 1, 3), np.uint8)).shape[1] == 960
