"""Small pictures of faces: kept only where that is asked for, and erased with their entries."""

import base64
import io
import sqlite3

import numpy as np
import pytest
from PIL import Image
from server.conftest import COLOURS, files

from mbv1_backbone.cli.main import main
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.records import THUMBNAIL


@pytest.fixture
def keeping(start, faces, gallery, drawn):
    """A service that keeps thumbnails, of two people."""
    web = start(embedder=faces, gallery=gallery, keep_thumbnails=True)
    for name in ('person_a', 'person_b'):
        answer = web.post('/v1/faces/enrol', files=files(drawn[name][0]), data={'identity': name})
        assert answer.json()['added'] == 1
    return web


def test_a_thumbnail_shows_the_face(keeping):
    for name in ('person_a', 'person_b'):
        [entry] = keeping.get('/v1/faces/entries', params={'identity': name}).json()['entries']
        assert entry['thumbnail']
        assert entry['metadata'] == {}
        answer = keeping.get(f'/v1/faces/entries/{entry["id"]}/thumbnail')
        assert answer.headers['content-type'] == 'image/jpeg'
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == (112, 112)
            middle = np.asarray(image)[40:72, 40:72].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(middle, COLOURS[name], atol=12)
    assert keeping.get('/v1/faces/stats').json()['thumbnails'] is True


def test_nothing_is_kept_unless_asked_for(start, faces, gallery, drawn):
    web = start(embedder=faces, gallery=gallery)
    web.post('/v1/faces/enrol', files=files(drawn['person_a'][0]), data={'identity': 'A'})
    [entry] = web.get('/v1/faces/entries').json()['entries']
    assert entry['thumbnail'] is False
    answer = web.get(f'/v1/faces/entries/{entry["id"]}/thumbnail')
    assert (answer.status_code, answer.json()['error']['field']) == (404, 'id')
    assert web.get('/v1/faces/entries/999/thumbnail').status_code == 404
    assert web.get('/v1/faces/stats').json()['thumbnails'] is False
    assert dict(gallery.get(entry['id']).metadata) == {}


def parts_in_files(gallery, parts):
    """How many of some parts of a text are in a gallery's files; SQLite may break a text at any place."""
    files = [path.read_bytes() for path in gallery.folder.iterdir()]
    return sum(any(part in content for content in files) for part in parts)


@pytest.mark.parametrize(
    ('verb', 'body'), [('remove', {'identity': 'person_a'}), ('forget-thumbnails', None)]
)
def test_what_is_erased_leaves_nothing_in_the_files(keeping, gallery, verb, body):
    [entry], [other] = (list(gallery.entries(identity=name)) for name in ('person_a', 'person_b'))
    text, others = entry.metadata[THUMBNAIL].encode(), other.metadata[THUMBNAIL].encode()
    assert len(base64.b64decode(text)) < 6000
    parts = {text[at : at + 32] for at in range(0, len(text) - 32, 32)}
    parts = [part for part in parts if part not in others]  # the rest is any JPEG file's
    assert parts_in_files(gallery, parts) == len(parts) > 5
    assert keeping.post(f'/v1/faces/{verb}', json=body).status_code == 200
    assert keeping.get(f'/v1/faces/entries/{entry.id}/thumbnail').status_code == 404
    assert main(['gallery', 'compact', gallery.place]) == 0  # while it is served
    assert parts_in_files(gallery, parts) == 0
    assert keeping.get('/v1/faces/entries', params={'identity': 'person_b'}).json()['entries']


def test_all_are_erased_and_their_entries_stay(keeping, gallery, drawn):
    keeping.post(
        '/v1/faces/enrol',
        files=files(drawn['person_c'][0]),
        data={'identity': 'C', 'metadata': '{"year": 1}'},
    )
    with gallery.one_state() as before:
        pass
    assert keeping.post('/v1/faces/forget-thumbnails').json() == {'entries': 3}
    with gallery.one_state() as after:
        assert after == before + 1  # for all of them
    assert keeping.post('/v1/faces/forget-thumbnails').json() == {'entries': 0}
    assert [dict(entry.metadata) for entry in gallery.entries()] == [{}, {}, {'year': 1}]
    assert not gallery.integrity_problems()


def test_it_is_no_condition_and_not_printed(keeping, gallery, capsys):
    assert not gallery.integrity_problems()
    assert not gallery.metadata_kinds(THUMBNAIL)
    assert main(['gallery', 'list', gallery.place, '--read-only']) == 0
    out = capsys.readouterr().out
    assert '(a picture)' in out
    assert len(out) < 2000


def test_all_are_erased_while_others_remove_entries(keeping, gallery, monkeypatch):
    first, second = gallery.ids().tolist()
    some = Gallery.some

    def slow(self, ids):
        found = list(some(self, ids))
        gallery.remove([first])
        return iter(found)

    monkeypatch.setattr(Gallery, 'some', slow)
    assert keeping.post('/v1/faces/forget-thumbnails').json() == {'entries': 1}
    assert gallery.ids().tolist() == [second]


@pytest.mark.parametrize('text', ['\u00fc', 'aGk=', 'no base64'])
def test_what_is_no_picture_is_not_sent(keeping, gallery, text):
    entry_id = int(gallery.ids()[0])
    gallery.update(entry_id, {THUMBNAIL: text})
    answer = keeping.get(f'/v1/faces/entries/{entry_id}/thumbnail')
    assert (answer.status_code, answer.json()['error']['code']) == (500, 'damaged')


def test_values_of_its_key_from_before_there_were_any_are_no_damage(keeping, gallery):
    with sqlite3.connect(gallery.folder / 'gallery.sqlite') as database:
        row = (int(gallery.ids()[0]), THUMBNAIL, 'text', 'mine')
        database.execute('INSERT INTO attributes VALUES (?, ?, ?, ?)', row)
    assert not gallery.integrity_problems()
    assert keeping.post('/v1/faces/forget-thumbnails').json() == {'entries': 2}
    assert not gallery.metadata_kinds(THUMBNAIL)


def test_clients_cannot_send_one(keeping, drawn):
    answer = keeping.post(
        '/v1/faces/enrol',
        files=files(drawn['person_c'][0]),
        data={'metadata': f'{{"{THUMBNAIL}": "aGk="}}'},
    )
    assert (answer.status_code, 'thumbnail.jpeg is the place' in answer.text) == (422, True)


def test_it_goes_along_when_the_gallery_is_copied(keeping, gallery, tmp_path):
    wanted = [entry.metadata[THUMBNAIL] for entry in gallery.entries()]
    assert main(['gallery', 'backup', gallery.place, '--out-dir', str(tmp_path / 'copy')]) == 0
    with Gallery(tmp_path / 'copy') as copied:
        assert [entry.metadata[THUMBNAIL] for entry in copied.entries()] == wanted
