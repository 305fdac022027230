"""Faces of films: followed, and named a track at a time, not a frame."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.films import ColourDetection, Square, frames, write_mpeg4

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceFinder, Faces, Place
from mbv1_backbone.face.quality import FaceQuality
from mbv1_backbone.face_gallery.tracks import FaceTracker, track_faces
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.video.frames import Frame
from mbv1_backbone.video.sources import open_source

pytest.importorskip('trackers', reason='needs the extra [video]')
RED, GREEN, BLUE = np.eye(3, dtype=np.float32)
PEOPLE = (Square(0, (40, 90), (40, 30)), Square(1, (110, 30), (110, 90)))


def squares(image):
    """A face detector that takes coloured squares for faces."""
    [found] = ColourDetection().detect([(image, None)])
    return Faces(found.boxes, found.scores)


class ColourEmbedder:
    """Embeds a face by its mean colour."""

    fingerprint, preprocessing, input_size, dims, backend = (
        'f' * 64,
        dict(face='squares', size=32),
        32,
        3,
        'colours',
    )

    def __init__(self, finder=None):
        self.finder = finder

    def forward(self, faces, flip=False):
        colours = np.stack([face.reshape(-1, 3).mean(0) for face in faces]).astype(np.float32)
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)


@pytest.fixture
def gallery(tmp_path):
    """Of two people, one of whom is red."""
    with Gallery.create(tmp_path / 'people', 3, 'f' * 64, dict(face='squares', size=32)) as made:
        made.add(np.stack([RED, BLUE]), ['ruby', 'azure'], ['a', 'b'], ['1' * 64, '2' * 64])
        yield made


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    return write_mpeg4(tmp_path_factory.mktemp('films') / 'door.mp4', frames(PEOPLE, 40))


def tracker(gallery=None, **options):
    return FaceTracker(25, None if gallery is None else ColourEmbedder(), gallery, threshold=0.8, **options)


def face(quality):
    """A face of 20 pixels, and its place."""
    return Place((10.0, 10.0, 30.0, 30.0), None, 0.9, FaceQuality(80, quality, None))


def crop(colour):
    return np.tile((colour * 200).astype(np.uint8), (32, 32, 1))


def test_tracks_are_named_by_the_gallery(film, gallery):
    with open_source(film) as source:
        followed = tracker(gallery)
        found = list(track_faces(source, FaceFinder(squares), followed))
    assert [len(one.faces) for one in found] == [2] * 40
    said = {(face.track, face.name and face.name.identity) for one in found[5:] for face in one.faces}
    assert len(said) == 2  # each track has one name from then on
    assert {name for _, name in said} == {'ruby', None}
    first = [face.name for one in found[:3] for face in one.faces]
    assert first == [None] * 6  # nobody is named before three faces of a track
    assert [face.name.faces for face in found[-1].faces] == [24, 24]  # 3, 6, 12, 24
    ended = sorted(followed.finish(), key=lambda track: track.name.score)
    assert [track.name.faces for track in ended] == [39, 39]
    assert [track.name.identity for track in ended] == [None, 'ruby']
    assert (ended[0].first, ended[0].last) == pytest.approx((0.04, 1.56), abs=1e-3)
    assert followed.finish() == []


def test_good_faces_outweigh_bad_ones(gallery):
    """Two sharp faces of one and six blurred ones that look like another: the track is the first one's."""
    followed = tracker(gallery)
    for number in range(9):
        sharp = number in (2, 5)
        shown = (crop(RED if sharp else BLUE), face(0.9 if sharp else 0.05))
        followed.update(Frame(number, number / 25, np.zeros((60, 60, 3), np.uint8)), [shown])
    [track] = followed.finish()
    assert (track.name.identity, track.name.faces, track.faces) == ('ruby', 8, 8)
    assert track.quality == pytest.approx(0.9)
    mean = (2 * 0.9 * RED + 6 * 0.05 * BLUE) / np.hypot(1.8, 0.3)
    [[match]] = gallery.search(mean[None], 1, None)
    assert track.name.score == pytest.approx(match.score, abs=1e-5)


def test_tracks_end_when_nobody_is_there_for_two_seconds():
    followed, image = tracker(), np.zeros((60, 60, 3), np.uint8)
    for number in range(5):
        followed.update(Frame(number, number / 25, image), [(crop(RED), face(0.5))])
    later = [followed.update(Frame(number, number / 25, image), []) for number in range(5, 80)]
    [(number, track)] = [(one.number, track) for one in later for track in one.ended]
    assert (track.number, track.faces, track.name) == (0, 4, None)
    assert 54 <= number <= 56


def test_nobody_is_known_to_an_empty_gallery(tmp_path):
    with Gallery.create(tmp_path / 'empty', 3, 'f' * 64, dict(face='squares', size=32)) as empty:
        followed = tracker(empty)
        for number in range(4):
            shown = [(crop(RED), face(0.5))]
            seen = followed.update(Frame(number, number / 25, np.zeros((60, 60, 3), np.uint8)), shown)
        assert seen.faces[0].as_dict()['name'] == dict(identity=None, score=None, faces=3)


def test_a_frame_is_no_crop_and_may_have_no_face():
    finder = FaceFinder(squares, 'reject', crops=True)
    [two, none] = [finder.find_all(image, 32) for image in (*frames(PEOPLE, 1), *frames((), 1))]
    assert [cut.shape for cut, _ in two] == [(32, 32, 3)] * 2
    assert none == []


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(gallery=SimpleNamespace()), 'a gallery needs the embedder'),
        (dict(decided=0), 'must be at least 1, got 0'),
    ],
)
def test_trackers_that_cannot_work(options, said):
    with pytest.raises(InputError, match=said):
        FaceTracker(25, **options)


@pytest.fixture
def _colours(monkeypatch):
    """Detectors and networks of every name go by colours."""
    finder = FaceFinder(squares, 'all')
    monkeypatch.setattr('mbv1_backbone.inference.face_detectors.named_finder', lambda *_: finder)
    monkeypatch.setattr(
        'mbv1_backbone.cli.gallery.embedders.open_embedder', lambda *_: ColourEmbedder(finder)
    )
    monkeypatch.setattr('mbv1_backbone.cli.gallery.embedders.check_embedder', lambda *_: None)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures('_colours')
def test_the_verb_writes_film_frames_and_tracks(film, gallery, tmp_path, capsys):
    place, out = str(gallery.place), tmp_path / 'out'
    words = ['--gallery', place, '--model', 'm', '--threshold', '.8', '--out-dir', str(out)]
    assert main(['faces', 'track', str(film), *words]) == 0
    assert sorted(path.name for path in out.iterdir()) == ['door.jsonl', 'door.mp4', 'door.tracks.jsonl']
    last = lines_of(out / 'door.jsonl')[-1]
    assert {face['name']['identity'] for face in last['faces']} == {'ruby', None}
    assert {face['track'] for face in last['faces']} == {0, 1}
    tracks = lines_of(out / 'door.tracks.jsonl')
    assert {(track['name']['identity'], track['name']['faces']) for track in tracks} == {
        ('ruby', 39),
        (None, 39),
    }
    assert len(list(open_source(out / 'door.mp4'))) == 40
    said = capsys.readouterr().out
    assert '40 frames to 1.6 s, 80 faces, 2 tracks, film in H.264' in said
    assert re.search(r'track 0, 0.0 to 1.6 s: ruby 0\.9\d, 39 faces', said)
    assert 'unknown (nearest' in said


@pytest.mark.usefixtures('_colours')
def test_the_verb_follows_faces_without_a_gallery(film, tmp_path, capsys):
    assert (
        main(['faces', 'track', str(film), '--no-pictures', '--num', '5', '--out-dir', str(tmp_path / 'out')])
        == 0
    )
    found = lines_of(tmp_path / 'out' / 'door.jsonl')
    assert [len(one['faces']) for one in found] == [2] * 5
    assert {face['name'] for one in found for face in one['faces']} == {None}
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['door.jsonl', 'door.tracks.jsonl']


@pytest.mark.usefixtures('_colours')
@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['{film}', '--model', 'm'], '--gallery and --model go together'),
        (
            ['{film}', '--gallery', '{people}', '--model', 'm'],
            'people: has no threshold, so nobody would be unknown',
        ),
        (['photo.jpg'], 'photo.jpg: is no film or camera'),
        (['none.mp4'], 'film none.mp4: no such file'),
    ],
)
def test_the_verb_refuses(words, said, film, gallery, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word.format(film=film, people=gallery.place) for word in words]
    assert main(['faces', 'track', *words, '--out-dir', 'out']) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('verb', [('faces', 'attributes'), ('gallery', 'search', 'people', '--model', 'm')])
def test_verbs_of_photographs_name_the_one_of_films(verb, film, tmp_path, capsys):
    assert main([*verb[:3], str(film), *verb[3:]]) == 2
    assert f'film {film}: mbv1 faces track takes films and cameras' in capsys.readouterr().err


def test_a_gallery_of_crops_is_refused(film, tmp_path, capsys):
    with Gallery.create(tmp_path / 'crops', 3, 'f' * 64, dict(face='middle square', size=32)):
        pass
    words = ['--gallery', str(tmp_path / 'crops'), '--model', 'm', '--out-dir', str(tmp_path / 'out')]
    assert main(['faces', 'track', str(film), *words]) == 2
    assert 'made with --detector none, of face crops' in capsys.readouterr().err
