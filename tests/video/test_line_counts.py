"""Lines and zones: what is counted, and what is refused."""

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.video.counting import Counter, Line, Zone
from mbv1_backbone.video.extra import needed

SIZE = (160, 120)


def box(x, y, side=10):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def counted(paths, lines=(), zones=(), tracks=None):
    """Counts after boxes have gone along paths, each a list of middles."""
    pytest.importorskip('supervision')
    counter = Counter(lines, zones, SIZE)
    for places in zip(*paths, strict=True):
        boxes = np.array([box(*place) for place in places])
        counter.update(
            boxes, np.zeros(len(boxes)), np.arange(len(boxes)) if tracks is None else np.array(tracks)
        )
    return counter.counts()


def path(start, end, count=20):
    return list(zip(*np.linspace(start, end, count).T, strict=True))


@pytest.mark.parametrize(
    ('line', 'went'),
    [
        ((0, 60, 160, 60), {'in': 1, 'out': 0}),  # up, which is to the left of the way to the right
        ((160, 60, 0, 60), {'in': 0, 'out': 1}),
        ((0, 60, 20, 60), {'in': 0, 'out': 0}),  # passes beside it
    ],
)
def test_a_line_counts_by_direction(line, went):
    assert counted([path((50, 100), (50, 20))], [Line(*line)])['lines'] == [went]


def test_there_and_back_is_in_and_out():
    way = path((50, 100), (50, 20))
    assert counted([way + way[::-1]], [Line(0, 60, 160, 60)])['lines'] == [{'in': 1, 'out': 1}]


def test_trembling_on_a_line_is_no_crossing():
    trembling = [(50, 60 + 3 * (-1) ** number) for number in range(40)]
    assert counted([trembling], [Line(0, 60, 160, 60)])['lines'] == [{'in': 0, 'out': 0}]


@pytest.mark.parametrize('hidden', [2, 3, 9, 100])
def test_who_is_hidden_while_crossing_is_counted_there_and_back(hidden):
    pytest.importorskip('supervision')
    counter = Counter([Line(0, 60, 160, 60)], [], SIZE)

    def seen(*middles):
        for place in middles:
            boxes = np.array([box(50, place)] if place else []).reshape(-1, 4)
            counter.update(boxes, np.zeros(len(boxes)), np.zeros(len(boxes), int))

    seen(90, 80, 70, *[None] * hidden, 50, 40)
    assert counter.counts()['lines'] == [{'in': 1, 'out': 0}]
    seen(*[None] * hidden, 30, 70, *[None] * hidden, 50)  # not two frames below
    assert counter.counts()['lines'] == [{'in': 1, 'out': 0}]
    seen(*[None] * hidden, 70, 80)
    assert counter.counts()['lines'] == [{'in': 1, 'out': 1}]


def test_a_zone_counts_who_is_in_and_who_has_been():
    zone = Zone(((20, 20), (100, 20), (100, 100), (20, 100)))
    paths = [path((0, 50), (150, 50)), path((60, 60), (60, 60)), path((150, 110), (150, 0))]
    assert counted(paths, zones=[zone])['zones'] == [{'inside': 1, 'entered': 2}]


def test_who_leaves_a_zone_and_comes_back_is_counted_once():
    zone = Zone(((20, 20), (100, 20), (100, 100)))
    way = path((0, 50), (60, 40))
    assert counted([way + way[::-1] + way], zones=[zone])['zones'] == [{'inside': 1, 'entered': 1}]


def test_boxes_without_a_track_do_not_count():
    counts = counted(
        [path((50, 100), (50, 20))], [Line(0, 60, 160, 60)], [Zone(((0, 0), (99, 0), (99, 99)))], [-1]
    )
    assert counts == {'lines': [{'in': 0, 'out': 0}], 'zones': [{'inside': 0, 'entered': 0}]}


def test_nobody_is_counted_where_nobody_is():
    pytest.importorskip('supervision')
    counter = Counter([Line(0, 60, 160, 60)], [Zone(((0, 0), (99, 0), (99, 99)))], SIZE)
    counter.update(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert counter.counts() == {'lines': [{'in': 0, 'out': 0}], 'zones': [{'inside': 0, 'entered': 0}]}


def test_lines_zones_and_counts_are_drawn():
    pytest.importorskip('supervision')
    counter = Counter([Line(0, 60, 160, 60)], [Zone(((10, 10), (60, 10), (60, 50)))], SIZE)
    drawn = counter.draw(np.zeros((120, 160, 3), np.uint8))
    assert (drawn[60, 30] > 200).all()
    assert (drawn[10, 30] > 200).all()


@pytest.mark.parametrize(
    ('kind', 'text', 'said'),
    [
        (Line, '1,2,3', 'a line is x1,y1,x2,y2 with two points apart, got 1,2,3'),
        (Line, '1,2,1,2', 'two points apart'),
        (Line, 'a,b,c,d', 'a line is x1,y1,x2,y2, got a,b,c,d'),
        (Line, '1,2,3,nan', 'got 1,2,3,nan'),
        (Zone, '1,2,3,4', 'three corners or more, got 1,2,3,4'),
        (Zone, '1,2,3,4,5,6,7', 'three corners or more, got'),
        (Zone, '1,1,2,2,3,3', 'a zone encloses a pixel or more, 1,1,2,2,3,3 does not'),
    ],
)
def test_shapes_that_are_none(kind, text, said):
    with pytest.raises(InputError, match=said):
        kind.parse(text)


@pytest.mark.parametrize(
    ('lines', 'zones', 'said'),
    [
        (
            [Line(0, 0, 200, 50)],
            [],
            'line 0,0,200,50: 200,50 lies outside of the frame, which has 160 x 120 pixels',
        ),
        ([], [Zone(((0, 0), (9, 0), (9, -1)))], 'zone 0,0,9,0,9,-1: 9,-1 lies outside of the frame'),
    ],
)
def test_shapes_outside_of_the_frame(lines, zones, said):
    with pytest.raises(InputError, match=said):
        Counter(lines, zones, SIZE)


def test_a_package_that_is_not_installed_is_said_with_its_extra():
    with pytest.raises(
        NotInstalledError, match=r"tracks need nonesuch: pip install 'mbv1-backbone\[video\]'"
    ):
        needed('nonesuch', 'tracks')
