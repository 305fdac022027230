"""A detector on films: tracks and counts, and how well tracks are what was drawn (IDF1, by TrackEval)."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import numpy as np
import pytest
from support.films import PASSING, Square, colour_detector, frames, write_mpeg4

from benchmarks.idf1 import idf1
from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.tracking import detect_frames, track
from mbv1_backbone.video.frames import FrameSource
from mbv1_backbone.video.sources import open_source

pytest.importorskip('trackers', reason='needs the extra [video]')
pytest.importorskip('trackeval', reason='what tracks are measured by')


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    return write_mpeg4(tmp_path_factory.mktemp('films') / 'passing.mp4', frames(PASSING, 50))


def test_everything_that_moves_keeps_its_number(film):
    found = list(
        colour_detector().track(film, lines=[(0, 60, 160, 60)], zones=[[(110, 10), (150, 10), (150, 50)]])
    )
    assert [frame.number for frame in found] == list(range(50))
    assert all(len(frame) == 3 for frame in found)
    numbers = {tuple(frame.tracks[np.argsort(frame.detections.labels)]) for frame in found[1:]}
    assert len(numbers) == 1
    assert sorted(*numbers) == [0, 1, 2]
    assert (found[0].tracks == -1).all()  # from the second frame on
    assert found[-1].counts == {'lines': [{'in': 1, 'out': 1}], 'zones': [{'inside': 1, 'entered': 1}]}
    assert found[0].counts['lines'] == [{'in': 0, 'out': 0}]
    assert found[25].image.shape == (120, 160, 3)
    assert found[25].seconds == pytest.approx(1.0, abs=1e-3)


def test_batches_give_what_single_frames_give(film):
    detector = colour_detector()
    one, many = (list(detector.track(film, batch_size=size)) for size in (1, 7))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a.detections.boxes, b.detections.boxes)
        np.testing.assert_array_equal(a.tracks, b.tracks)


def test_of_a_live_source_only_the_newest_frame_is_looked_at():
    found = list(colour_detector().track(frames(PASSING, 60), frames='newest'))
    numbers = [frame.number for frame in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 59


def test_boxes_of_a_low_score_only_go_on_with_tracks():
    """As ByteTrack does: what is hardly seen for some frames keeps its number, and begins none."""

    class Fading:
        classes, category_ids, backend, parallel = ('a',), (1,), 'fading', 1
        count = 0

        def prepare(self, image, /):
            return None

        def detect(self, batch, /):
            return [self._found() for _ in batch]

        def _found(self):
            self.count += 1
            scores = np.array([0.9 if self.count < 10 else 0.15, 0.15], np.float32)
            boxes = np.array([(10, 10, 40, 40), (80, 80, 110, 110)], np.float32)
            return Detections(boxes, scores, np.zeros(2, np.int64))

    found = list(Detector(Fading()).track(frames((), 20)))
    assert [frame.tracks.tolist() for frame in found] == [[-1]] + [[0]] * 19
    assert found[-1].detections.scores == pytest.approx([0.15])
    assert len(list(Detector(Fading()).track(frames((), 20), tracks=False))[-1]) == 0


def test_what_was_found_before_a_film_breaks_off_is_given(film):
    class Broken(FrameSource):
        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                if frame.number == 20:
                    raise DamagedFileError('it breaks off')

    whole = open_source(film)
    source, found = Broken(whole._reader, 'broken'), []
    with pytest.raises(DamagedFileError, match='it breaks off'):
        found.extend(detect_frames(colour_detector(), source))
    assert [frame.number for frame, _ in found] == list(range(21))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(tracks=False, lines=[(0, 0, 5, 5)]), 'lines and zones count tracks, and there are none'),
        (dict(lines=[(0, 0, 5)]), 'a line is x1,y1,x2,y2'),
        (dict(zones=[[(0, 0), (5, 5)]]), 'three corners or more'),
        (dict(every=0), 'every must be at least 1'),
    ],
)
def test_options_are_refused_before_the_first_frame(options, said, film):
    with pytest.raises(InputError, match=said):
        track(colour_detector(), film, **options)


class Drawn:
    """What a detector would find of squares, with its usual faults: jitter, misses and false alarms.

    Attributes:
        truth: Boxes of each frame, by square.
    """

    classes, category_ids, backend, parallel = ('thing',), (1,), 'drawn', 1

    def __init__(self, squares: Sequence[Square], count: int, missed: float, false: float) -> None:
        self.truth = [np.array([square.box(n / (count - 1)) for square in squares]) for n in range(count)]
        self._random, self._missed, self._false = np.random.default_rng(7), missed, false
        self._next = 0

    def prepare(self, image, /):
        return None

    def detect(self, batch, /):
        return [self._found() for _ in batch]

    def _found(self) -> Detections:
        truth = self.truth[self._next]
        self._next += 1
        seen = truth[self._random.random(len(truth)) >= self._missed]
        boxes = seen + self._random.normal(0, 1, seen.shape)
        for _ in range(self._random.poisson(self._false)):
            x, y = self._random.uniform(0, 300, 2)
            boxes = np.concatenate([boxes, [(x, y, x + 20, y + 20)]])
        scores = self._random.uniform(0.5, 1, len(boxes)).astype(np.float32)
        return Detections(boxes.astype(np.float32), scores, np.zeros(len(boxes), np.int64))


def drawn_idf1(missed: float, false: float, count: int = 150) -> float:
    """IDF1 of twelve squares that go across each other's ways."""
    random = np.random.default_rng(3)
    squares = [
        Square(0, tuple(random.uniform(10, 290, 2)), tuple(random.uniform(10, 290, 2))) for _ in range(12)
    ]
    drawn = Drawn(squares, count, missed, false)
    found = [
        (frame.detections.boxes[frame.tracks >= 0], frame.tracks[frame.tracks >= 0])
        for frame in Detector(drawn).track(frames((), count, (300, 300)))
    ]
    return idf1([(boxes, np.arange(len(boxes))) for boxes in drawn.truth], found)


@pytest.mark.parametrize(
    ('missed', 'false', 'least'),
    [(0.0, 0.0, 0.95), (0.1, 0.5, 0.85), (0.3, 1.0, 0.7)],
    ids=['all', 'most', 'two thirds'],
)
def test_tracks_are_what_was_drawn(missed, false, least):
    value = drawn_idf1(missed, false)
    print(f'IDF1 {value:.3f}')
    assert value >= least


def test_numbers_of_the_reference_are_as_defined():
    """Two things in four frames, and one changes its number in the middle: 6 of 8 boxes are right."""
    boxes = np.array([(0, 0, 10, 10), (20, 20, 30, 30)], float)
    found = [(boxes, np.array([0, 1 if number < 2 else 5])) for number in range(4)]
    assert idf1([(boxes, np.arange(2))] * 4, found) == pytest.approx(2 * 6 / (8 + 8))


def test_memory_does_not_grow_with_the_film():
    """The same objects after 100 frames as after 450; benchmarks/film_memory.py goes on to 100,000."""
    import gc

    detector = colour_detector()
    stream = detector.track(
        frames(PASSING, 500), lines=[(0, 60, 160, 60)], zones=[[(0, 0), (90, 0), (90, 90)]]
    )

    def after(number: int) -> tuple[int, int]:
        while next(stream).number < number:
            pass
        gc.collect()
        return len(gc.get_objects()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    objects, size = after(100)
    later, larger = after(450)
    assert abs(later - objects) < 200
    assert larger - size < 8 * 1024  # KiB
