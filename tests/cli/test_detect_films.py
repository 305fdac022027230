"""``mbv1 detect`` of films, cameras and streams: what it writes, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from support.films import PASSING, colour_detector, frames, jpeg, write_mpeg4

from mbv1_backbone.cli.main import main
from mbv1_backbone.video.capture import Capture
from mbv1_backbone.video.frames import FrameSource
from mbv1_backbone.video.sources import open_source
from mbv1_backbone.video.writer import FilmWriter

pytest.importorskip('trackers', reason='needs the extra [video]')
NAME = 'ssd_mbv1_0.75_tf_bccd'  # any name in the zoo; the network is not loaded


@pytest.fixture(autouse=True)
def _colours(monkeypatch):
    """The network of every name finds colours."""
    monkeypatch.setattr('mbv1_backbone.cli.networks.open_network', lambda *_: colour_detector())


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    return write_mpeg4(tmp_path_factory.mktemp('films') / 'passing.mp4', frames(PASSING, 30))


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_film_becomes_a_drawn_film_and_a_line_a_frame(film, tmp_path, capsys):
    out = tmp_path / 'out'
    words = ['--line', '0,60,160,60', '--zone', '110,10,150,10,150,50', '--out-dir', str(out)]
    assert main(['detect', NAME, str(film), *words]) == 0
    assert sorted(path.name for path in out.iterdir()) == ['passing.jsonl', 'passing.mp4']
    found = lines_of(out / 'passing.jsonl')
    assert [line['frame'] for line in found] == list(range(30))
    assert found[10]['seconds'] == pytest.approx(0.4, abs=1e-3)
    last = found[-1]
    assert last['counts'] == {'blue': 1, 'green': 1, 'red': 1}
    assert last['lines'] == [{'in': 1, 'out': 1}]
    assert last['zones'] == [{'inside': 1, 'entered': 1}]
    one = next(box for box in last['detections'] if box['category_name'] == 'red')
    assert one['bbox'] == pytest.approx([30, 5, 20, 20], abs=2)
    assert (one['category_id'], one['score']) == (1, 0.9)
    assert {box['track'] for box in last['detections']} == {0, 1, 2}
    with open_source(out / 'passing.mp4') as drawn:
        images = [frame.image for frame in drawn]
    assert len(images) == 30
    assert images[20][60, 20].min() > 150  # the line
    said = capsys.readouterr().out
    assert 'passing: 30 frames to 1.2 s, 90 detections, 3 tracks, film in H.264' in said
    assert 'line 0,60,160,60: 1 in, 1 out' in said
    assert 'zone 110,10,150,10,150,50: 1 inside at the end, 1 entered' in said


def test_every_so_many_frames_without_pictures_and_tracks(film, tmp_path, capsys):
    words = ['--every', '4', '--num', '3', '--no-pictures', '--no-tracks', '--out-dir', str(tmp_path / 'out')]
    assert main(['detect', NAME, str(film), *words]) == 0
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['passing.jsonl']
    found = lines_of(tmp_path / 'out' / 'passing.jsonl')
    assert [line['frame'] for line in found] == [0, 4, 8]
    assert {box['track'] for line in found for box in line['detections']} == {None}
    assert 'track' not in capsys.readouterr().out


def test_several_films_and_globs(film, tmp_path, capsys):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'door.mp4').write_bytes(film.read_bytes())
    words = ['--num', '2', '--no-pictures', '--out-dir', str(tmp_path / 'out')]
    assert main(['detect', NAME, str(tmp_path / '*' / '*.mp4'), *words]) == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['1_door.jsonl', '2_door.jsonl']


def test_jpegs_on_standard_input(tmp_path, monkeypatch, capsys):
    stream = b''.join(jpeg(image) for image in frames(PASSING, 10))
    monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(stream)))
    assert main(['detect', NAME, '--fps', '5', '--out-dir', str(tmp_path / 'out'), '-']) == 0
    found = lines_of(tmp_path / 'out' / 'stdin.jsonl')
    assert len(found) == 10
    assert found[-1]['seconds'] == pytest.approx(1.8)


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_ctrl_c_ends_a_live_source_with_whole_outputs(name, tmp_path, monkeypatch, capsys):
    def camera():
        for image in frames(PASSING, 10_000):
            time.sleep(0.005)
            yield image

    source = open_source(camera(), frames='newest')
    monkeypatch.setattr('mbv1_backbone.video.sources.open_source', lambda *_: source)
    threading.Timer(1.0, os.kill, (os.getpid(), getattr(signal, name))).start()
    before = signal.getsignal(signal.SIGINT)
    assert main(['detect', NAME, '0', '--out-dir', str(tmp_path / 'out')]) == 0
    assert signal.getsignal(signal.SIGINT) is before
    found = lines_of(tmp_path / 'out' / 'camera0.jsonl')
    assert 2 < len(found) < 1000
    assert len(list(open_source(tmp_path / 'out' / 'camera0.mp4'))) == len(found)
    assert 'dropped for newer ones' in capsys.readouterr().out or not source.dropped


def test_ctrl_c_ends_a_film_with_whole_outputs_and_says_so(film, tmp_path, capsys):
    original = FrameSource.__iter__

    def pressed(self):
        for frame in original(self):
            if frame.number == 10:
                os.kill(os.getpid(), signal.SIGINT)
            yield frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameSource, '__iter__', pressed)
        assert main(['detect', NAME, str(film), '--out-dir', str(tmp_path / 'out')]) == 130
    assert len(lines_of(tmp_path / 'out' / 'passing.jsonl')) == 11
    assert len(list(open_source(tmp_path / 'out' / 'passing.mp4'))) == 11
    assert capsys.readouterr().err.splitlines()[-1] == 'interrupted'


def test_a_broken_film_keeps_what_was_read(tmp_path, capsys):
    pytest.importorskip('av')
    writer = FilmWriter(tmp_path / 'whole.mp4', (160, 120), 25)
    for number, image in enumerate(frames(PASSING, 100)):
        writer.write(image, number / 25)
    writer.close()
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(writer.path.read_bytes()[: writer.path.stat().st_size // 2])
    assert main(['detect', NAME, str(cut), '--out-dir', str(tmp_path / 'out')]) == 2
    found = lines_of(tmp_path / 'out' / 'cut.jsonl')
    assert 5 < len(found) < 80
    assert len(list(open_source(tmp_path / 'out' / 'cut.mp4'))) == len(found)
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert f'cut.mp4: breaks off after {len(found)} of 100 frames' in line
    assert line.endswith(f'what was read is in {tmp_path / "out" / "cut"}.*')


def test_films_after_a_broken_one_are_worked_on_too(film, tmp_path, capsys):
    for name, content in (('a', b'no film' * 100), ('b', film.read_bytes()), ('c', b'')):
        (tmp_path / f'{name}.mp4').write_bytes(content)
    words = ['--num', '2', '--no-pictures', '--out-dir', str(tmp_path / 'out')]
    assert main(['detect', NAME, str(tmp_path / 'b.mp4'), str(tmp_path / '*.mp4'), *words]) == 2
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['b.jsonl']
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert line.count('is no film that OpenCV can decode') == 2


def test_frames_before_one_of_another_size_are_kept_and_said(tmp_path, monkeypatch, capsys):
    mixed = [*frames(PASSING, 12), *frames(PASSING, 2, (80, 60))]
    stream = b''.join(map(jpeg, mixed))
    monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(stream)))
    assert main(['detect', NAME, '--out-dir', str(tmp_path / 'out'), '-']) == 2
    assert len(lines_of(tmp_path / 'out' / 'stdin.jsonl')) == 12
    assert len(list(open_source(tmp_path / 'out' / 'stdin.mp4'))) == 12
    out, err = capsys.readouterr()
    assert 'stdin: 12 frames' in out
    assert (
        f'frame 12 has 80 x 60 pixels, and those before it 160 x 120; what was read is in {tmp_path}' in err
    )


def test_ctrl_c_ends_all_films_also_where_one_does_not_say_its_length(film, tmp_path, monkeypatch, capsys):
    """As films that a browser recorded do not."""
    original = Capture.__init__

    def endless(self, opened, sized, counted=False):
        original(self, opened, False)

    def pressed(self):
        os.kill(os.getpid(), signal.SIGINT)
        yield from ()

    monkeypatch.setattr(Capture, '__init__', endless)
    monkeypatch.setattr(FrameSource, '__iter__', pressed)
    (tmp_path / 'later.mp4').write_bytes(film.read_bytes())
    words = [str(film), str(tmp_path / 'later.mp4'), '--no-pictures', '--out-dir', str(tmp_path / 'out')]
    assert main(['detect', NAME, *words]) == 130
    assert 'later' not in capsys.readouterr().out


REFUSED = {
    'no film': (['{bad}'], 'bad.mp4: is no film that OpenCV can decode'),
    'no such film': (['none.mp4'], 'film none.mp4: no such file'),
    'no such camera': (['97'], 'camera 97: no such device (/dev/video97)'),
    'no answer': (['rtsp://me:pw@127.0.0.1:9/a'], 'rtsp://127.0.0.1:9/a: nothing answers within 10 seconds'),
    'a film and an image': (
        ['{film}', 'a.jpg'],
        'a.jpg: is no film or camera, and these cannot be given with images',
    ),
    'a film and a camera': (['{film}', '0'], '0: is given with 1 more, and may have no end'),
    'two cameras': (
        ['rtsp://me:pw@127.0.0.1:9/a', '0'],
        'rtsp://127.0.0.1:9/a: is given with 1 more',
    ),
    'a line outside': (
        ['{film}', '--line', '0,0,500,9'],
        '500,9 lies outside of the frame, which has 160 x 120 pixels',
    ),
    'no line': (['{film}', '--line', '0,0,5'], 'a line is x1,y1,x2,y2'),
    'no zone': (['{film}', '--zone', '0,0,5,5'], 'three corners or more'),
    'a line without tracks': (
        ['{film}', '--line', '0,0,5,5', '--no-tracks'],
        '--line and --zone count tracks',
    ),
    'options of films': (
        ['a.jpg', '--line', '0,0,5,5'],
        '--line is about films and cameras, and none is given',
    ),
    'a rate of a film': (['{film}', '--fps', '5'], '--fps is of JPEG files on standard input (-); film '),
    'every': (['{film}', '--every', '0'], 'must be at least 1, got 0'),
}


@pytest.mark.parametrize(('words', 'said'), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_in_one_line_with_nothing_written(words, said, film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no film' * 100)
    words = [word.format(film=film, bad=bad) for word in words]
    assert main(['detect', NAME, *words, '--out-dir', 'out']) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert said in line
    assert 'pw@' not in line
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').iterdir())


def test_outputs_are_checked_before_the_work(film, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        'mbv1_backbone.cli.networks.open_network', lambda *_: pytest.fail('the work has begun')
    )
    (tmp_path / 'passing.mp4').mkdir()
    assert main(['detect', NAME, str(film), '--out-dir', str(tmp_path)]) == 2
    assert 'passing.mp4: is a folder, not a file' in capsys.readouterr().err
    assert main(['detect', NAME, str(film), '--out-dir', str(film.parent)]) == 2
    assert 'is also read' in capsys.readouterr().err


def test_without_the_extra_tracks_are_refused_before_the_work(film, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'trackers', None)
    words = ['detect', NAME, str(film), '--num', '2', '--out-dir', str(tmp_path / 'out')]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "tracks need trackers: pip install 'mbv1-backbone[video]'; --no-tracks goes without" in said
    assert not (tmp_path / 'out').exists()
    assert main([*words, '--no-tracks']) == 0
