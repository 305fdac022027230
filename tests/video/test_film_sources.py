"""Frames of films, cameras, addresses and streams of JPEG files."""

import io
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.films import PASSING, frames, jpeg, write_mpeg4
from support.rtsp import rtsp_camera

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.video.frames import FrameSource
from mbv1_backbone.video.jpegs import split_jpegs
from mbv1_backbone.video.names import is_film, shown_source, stem_of
from mbv1_backbone.video.sources import open_source
from mbv1_backbone.video.writer import FilmWriter


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    return write_mpeg4(tmp_path_factory.mktemp('films') / 'passing.mp4', frames(PASSING, 50))


def test_a_film_gives_every_frame_with_its_time(film):
    with open_source(film) as source:
        found = list(source)
    assert [frame.number for frame in found] == list(range(50))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(50) / 25, atol=1e-3)
    assert (source.fps, source.length, source.live, source.dropped) == (25, 50, False, 0)
    assert found[0].image[105, 40].argmax() == 0  # red, as it was drawn: RGB


@pytest.mark.parametrize(
    ('every', 'limit', 'numbers'), [(20, None, [0, 20, 40]), (3, 2, [0, 3]), (60, None, [0])]
)
def test_frames_may_be_passed_over_and_limited(film, every, limit, numbers):
    with open_source(film, every=every, limit=limit) as source:
        assert source.length == len(numbers)
        assert [frame.number for frame in source] == numbers


class Told:
    """A reader whose clock says what it is told to."""

    fps, length, counted = 10.0, None, True

    def __init__(self, times):
        self.times, self.place = list(times), -1

    def grab(self):
        self.place += 1
        return self.place < len(self.times)

    def retrieve(self):
        return np.zeros((4, 4, 3), np.uint8)

    def seconds(self):
        return self.times[self.place]

    def fault(self, read):
        return ''

    def close(self):
        pass


@pytest.mark.parametrize(
    ('told', 'times'),
    [
        ([None, 0.02, 0.5, 0.51], [0, 0.02, 0.5, 0.51]),  # uneven, and far from ten a second
        ([None, 0.02, 0.02, 0.04, 0.06], [0, 0.02, 0.02, 0.04, 0.06]),  # one time twice
        ([86400.0, 86400.1, 86400.3], [0, 0.1, 0.3]),  # since the machine was started
        ([None, 5.0, 9.0, 0.2, 0.4], [0, 5.0, 9.0, 9.1, 9.3]),  # two films, joined
        ([None] * 4, [0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_are_since_the_first_frame_whatever_the_clock_says(told, times):
    found = [frame.seconds for frame in FrameSource(Told(told), 'told')]
    assert found == pytest.approx(times, abs=1e-5)
    assert (np.diff(found) > 0).all()


def test_only_the_newest_frame_is_kept_and_the_dropped_ones_are_counted():
    """100 frames come while the first one is worked on: the last one is next."""
    came = threading.Event()

    def images():
        yield from frames(PASSING, 1)
        started.wait(5)
        yield from frames(PASSING, 99)
        came.set()

    started = threading.Event()
    with open_source(images(), frames='newest') as source:
        stream = iter(source)
        first = next(stream)
        started.set()
        assert came.wait(5)
        rest = list(stream)
    assert (first.number, rest[-1].number, source.read) == (0, 99, 100)
    assert 1 + len(rest) + source.dropped == 100
    assert source.dropped >= 97  # the end may be told before or after the last frame is taken


def test_an_error_of_a_live_source_comes_where_frames_are_asked_for():
    def images():
        yield from frames(PASSING, 1)
        yield np.zeros((4, 4), np.uint8)

    with (
        open_source(images(), frames='newest') as source,
        pytest.raises(InputError, match='frames must be uint8'),
    ):
        list(source)


def test_a_source_that_is_stopped_ends_without_a_fault(film):
    with open_source(film) as source:
        stream = iter(source)
        next(stream)
        source.stop()
        assert len(list(stream)) <= 1


def test_a_film_that_is_cut_off_gives_what_it_has_and_says_where(film, tmp_path):
    whole = tmp_path / 'whole.mp4'
    writer = FilmWriter(whole, (160, 120), 25)
    pytest.importorskip('av')  # its films have their table at the front
    for number, image in enumerate(frames(PASSING, 100)):
        writer.write(image, number / 25)
    writer.close()
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found = []
    with (
        open_source(cut) as source,
        pytest.raises(
            DamagedFileError, match=r'cut.mp4: breaks off after \d+ of 100 frames, at .* of 4.0 seconds'
        ),
    ):
        found.extend(iter(source))
    assert 5 < len(found) < 80


def test_a_film_without_a_table_that_ends_early_is_a_note(tmp_path):
    """The last frame of a recorded screen may stand still: a length in seconds is no number of frames."""
    av = pytest.importorskip('av')
    with av.open(str(tmp_path / 'a.mkv'), 'w') as file:
        stream = file.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, 'yuv420p'
        for image in frames(PASSING, 100):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        file.mux(stream.encode(None))
    cut = tmp_path / 'cut.mkv'
    cut.write_bytes((tmp_path / 'a.mkv').read_bytes()[: (tmp_path / 'a.mkv').stat().st_size // 2])
    with open_source(tmp_path / 'a.mkv') as whole, open_source(cut) as source:
        assert len(list(whole)) == 100
        assert whole.note == ''
        assert 5 < len(list(source)) < 80
        assert re.fullmatch(r'its last frame is at [0-2]\.\d of 4\.0 seconds', source.note)


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('none.mp4', 'film none.mp4: no such file'),
        ('97', r'camera 97: no such device \(/dev/video97\)'),
        ('/dev/video97', r'camera 97: no such device \(/dev/video97\)'),
        (
            'http://user:secret@127.0.0.1:9/a',
            'http://127.0.0.1:9/a: nothing answers within 10 seconds, or it is no',
        ),
    ],
)
def test_what_is_not_there(name, said):
    with pytest.raises(InputError, match=f'^{said}'):
        open_source(name)


@pytest.mark.parametrize('content', [b'', b'no film at all' * 100])
def test_what_is_no_film(content, tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'a\.mp4: is no film that OpenCV can decode'):
        open_source(path)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(every=0), 'every must be at least 1, got 0'),
        (dict(limit=-1), 'limit must be at least 1, got -1'),
        (dict(frames='some'), "frames must be one of auto, all, newest, got 'some'"),
        (dict(fps=0.0), 'fps must lie'),
    ],
)
def test_options_out_of_range(options, said, film):
    with pytest.raises(InputError, match=said):
        open_source(film, **options)


def test_frames_of_another_size_are_refused_by_their_number():
    mixed = [*frames(PASSING, 2), *frames(PASSING, 1, (80, 60))]
    with pytest.raises(InputError, match='frame 2 has 80 x 60 pixels, and those before it 160 x 120'):
        list(open_source(mixed))


def test_no_frames_are_no_film():
    with pytest.raises(InputError, match=r'^frames: holds no frame$'):
        list(open_source(iter(())))


def progressive(image):
    buffer = io.BytesIO()
    thumbnail = Image.fromarray(image)
    exif = Image.Exif()
    exif[0x927C] = b'\xff\xd8 a thumbnail \xff\xd9'  # marks inside of a segment
    thumbnail.save(buffer, 'JPEG', progressive=True, exif=exif)
    return buffer.getvalue()


class Slowly(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, content, step):
        self.content, self.step = io.BytesIO(content), step

    def read1(self, _):
        return self.content.read(self.step)


@pytest.mark.parametrize('step', [1, 7, 1 << 20])
def test_a_stream_is_split_where_its_jpegs_end(step):
    images = [*frames(PASSING, 2), np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)]
    files = [jpeg(images[0]), progressive(images[1]), jpeg(images[2]), jpeg(images[2])]
    stream = b'--boundary\r\nContent-Type: image/jpeg\r\n\r\n'.join([b'', *files])
    assert list(split_jpegs(Slowly(stream, step))) == files


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'standard input: holds no frame$'),
        (b'no picture', 'standard input: holds no frame: holds no JPEG file'),
        (b'\xff\xd8\xff\xe0', 'standard input: holds no frame: breaks off in the middle of a JPEG file'),
        (b'\xff\xd8\xff\xe0\x00\x04xx\xff\xd9', 'holds no frame: 1 cannot be decoded'),
    ],
)
def test_a_stream_without_a_picture(content, said, monkeypatch):
    monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(InputError, match=said):
        list(open_source('-'))


def test_a_stream_that_breaks_off_keeps_what_it_had(monkeypatch):
    files = [jpeg(image) for image in frames(PASSING, 5)]
    broken = files[1][:200] + files[1][250:]  # decodes to something, or is left out
    stream = b''.join([files[0], broken, files[2], files[3], files[4][:-50]])
    monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(stream)))
    source, found = open_source('-', fps=10), []
    assert not source.live  # a pipe waits
    with pytest.raises(
        DamagedFileError, match='standard input: breaks off in the middle of a JPEG file after 4'
    ):
        found.extend(iter(source))
    assert len(found) + source.unreadable == 4
    assert found[-1].number == 3
    assert found[-1].seconds == pytest.approx(0.3)


@contextmanager
def served(handler) -> Iterator[str]:
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


class Camera(BaseHTTPRequestHandler):
    """A network camera: JPEG files in parts, one after the other."""

    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
        self.end_headers()
        for image in frames(PASSING, 40):
            file = jpeg(image)
            head = f'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(file)}\r\n\r\n'
            self.wfile.write(head.encode() + file + b'\r\n')

    def log_message(self, *_):
        pass


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_camera_at_an_address_is_live_and_a_film_there_is_not(film):
    with served(Camera) as address, open_source(f'{address}/stream') as source:
        assert source.live
        assert source.length is None
        found = list(source)
        assert len(found) + source.dropped == source.read >= 30
        assert found[0].image.shape == (120, 160, 3)
    with (
        served(partial(Files, directory=film.parent)) as address,
        open_source(f'{address}/{film.name}') as source,
    ):
        assert not source.live
        assert len(list(source)) == source.length == 50


def test_an_rtsp_camera_gives_its_newest_frames():
    drawn = list(frames(PASSING, 60))
    with rtsp_camera(drawn, pause=0.01) as address, open_source(address) as source:
        assert source.live
        assert source.length is None
        found = []
        for frame in source:
            found.append(frame)
            time.sleep(0.05)  # slower than the camera
    assert len(found) + source.dropped == source.read >= 40
    assert source.dropped > 5
    assert found[-1].number > 40
    times = [frame.seconds for frame in found]
    assert times == sorted(times)
    assert np.abs(found[0].image.astype(int) - drawn[found[0].number]).mean() < 8


@pytest.mark.parametrize(
    ('name', 'film', 'shown', 'stem'),
    [
        ('a/door.MP4', True, 'film a/door.MP4', 'door'),
        ('3', True, 'camera 3', 'camera3'),
        ('/dev/video0', True, 'camera 0', 'camera0'),
        ('-', True, 'standard input', 'stdin'),
        ('rtsp://me:pw@cam:554/a/b?token=x', True, 'rtsp://cam:554/a/b', 'cam_a_b'),
        ('https://host', True, 'https://host', 'host'),
        ('a.jpg', False, 'film a.jpg', 'a'),
        ('s3://bucket/a', False, 'film s3://bucket/a', 'a'),
        ('12345', False, 'film 12345', '12345'),
    ],
)
def test_names(name, film, shown, stem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (is_film(name), shown_source(name), stem_of(name)) == (film, shown, stem)


def test_a_folder_or_file_of_a_cameras_name_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '0').mkdir()
    (tmp_path / 'films.mp4').mkdir()
    (tmp_path / '1').write_bytes(b'')
    assert not any(map(is_film, ('0', '1', 'films.mp4')))
