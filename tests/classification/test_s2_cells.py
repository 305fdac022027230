"""S2's cells, compared with Google's own library."""

import numpy as np
import pytest

from mbv1_backbone.classification.s2_cells import (
    cell_ids,
    cell_outline,
    from_tokens,
    levels_of,
    parents,
    tokens,
)

s2 = pytest.importorskip('s2geometry')

POINTS = 100_000
# Corners, edges and middles of the cube's faces, the poles, and where longitudes begin anew.
SPECIAL = [
    *((0, 0), (90, 0), (-90, 0), (0, 180), (0, -180), (45, 90), (-45, -135)),
    *((35.26438968, 45), (0, 45), (0, -45), (89.9999999, 179.9999999), (-89.9999999, -0.0000001)),
]


@pytest.fixture(scope='module')
def points():
    rng = np.random.default_rng(0)
    anywhere = np.degrees(np.arcsin(rng.uniform(-1, 1, POINTS))), rng.uniform(-180, 180, POINTS)
    return np.concatenate([np.array(SPECIAL, np.float64), np.stack(anywhere, 1)])


@pytest.fixture(scope='module')
def reference(points):
    return [s2.S2CellId(s2.S2LatLng.FromDegrees(*point)) for point in points.tolist()]


def test_the_cells_of_a_hundred_thousand_points_are_those_of_googles_library(points, reference):
    ours = cell_ids(points[:, 0], points[:, 1])
    theirs = np.array([cell.id() for cell in reference], np.uint64)
    # A leaf is a centimetre wide, and sines are rounded otherwise on other processors: one may differ.
    assert (ours != theirs).sum() <= 1
    assert (parents(ours, 26) == parents(theirs, 26)).all()


@pytest.mark.parametrize('level', [0, 1, 8, 29, 30])
def test_parents_levels_and_tokens_are_those_of_googles_library(points, reference, level):
    ours = parents(np.array([cell.id() for cell in reference[:2000]], np.uint64), level)
    theirs = [cell.parent(level) for cell in reference[:2000]]
    assert ours.tolist() == [cell.id() for cell in theirs]
    assert levels_of(ours).tolist() == [level] * len(ours)
    assert tokens(ours) == tuple(cell.ToToken() for cell in theirs)
    assert from_tokens(list(tokens(ours))).tolist() == ours.tolist()


@pytest.mark.parametrize('level', [0, 1, 7, 20])
def test_corners_of_cells_are_those_of_googles_library(reference, level):
    for leaf in reference[: 100 + len(SPECIAL)]:
        cell = leaf.parent(level)
        corners = [s2.S2LatLng(s2.S2Cell(cell).GetVertex(k)) for k in range(4)]
        ours = cell_outline(cell.id(), points=1)
        assert ours[:, 0] == pytest.approx([corner.lat().degrees() for corner in corners], abs=1e-9)
        turns = (ours[:, 1] - [corner.lng().degrees() for corner in corners] + 180) % 360 - 180
        assert turns * np.cos(np.radians(ours[:, 0])) == pytest.approx([0] * 4, abs=1e-9)


def test_an_outline_lies_on_the_edge_of_its_cell(reference):
    cell = reference[500].parent(6)
    inside = [
        cell.contains(s2.S2CellId(s2.S2LatLng.FromDegrees(*point)))
        for scale in (0.999, 1.001)
        for middle in [np.mean(cell_outline(cell.id(), 16), axis=0)]
        for point in (middle + scale * (cell_outline(cell.id(), 16) - middle)).tolist()
    ]
    assert all(inside[:64])
    assert not any(inside[64:])


@pytest.mark.parametrize('name', ['', 'X', '0', 'zz', '4766ad00000000002', 'ffff', '47622'])
def test_what_is_no_token_is_refused(name):
    with pytest.raises((ValueError, OverflowError)):
        from_tokens([name])
