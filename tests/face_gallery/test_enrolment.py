"""From folders and lists into a gallery, probes and answers, and the verbs of the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.embedders import build, published
from support.people import draw_people

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.face_gallery.answers import ask, draw_answers
from mbv1_backbone.face_gallery.enrolment import enrol
from mbv1_backbone.face_gallery.sources import entry_path, read_sources
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.weights import write_weights

AS_THEY_ARE = ('--detector', 'none')  # the drawn faces are no detector's


@pytest.fixture
def people(tmp_path):
    return draw_people(tmp_path / 'people', people=4, images=3) / 'images'


def create(folder, embedder):
    return Gallery.create(folder, embedder.dims, embedder.fingerprint, embedder.preprocessing)


def test_a_folder_of_people_is_enrolled_once(people, embedder, tmp_path):
    (people / 'person_a' / 'broken.jpg').write_text('no image')
    gallery = create(tmp_path / 'g', embedder)
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.added, done.known, list(done.failures)) == (12, 0, ['person_a/broken.jpg'])
    assert 'cannot be decoded' in done.failures['person_a/broken.jpg']
    assert gallery.identities() == {f'person_{c}': 3 for c in 'abcd'}
    again = enrol(gallery, embedder, read_sources(people))
    assert (again.added, again.known) == (0, 12)


def test_known_files_are_not_embedded_again(people, embedder, tmp_path, monkeypatch):
    gallery = create(tmp_path / 'g', embedder)
    enrol(gallery, embedder, read_sources(people))
    (people / 'new').mkdir()
    Image.new('RGB', (64, 64), 'red').save(people / 'new' / '1.png')
    seen = []
    original = embedder.embed
    monkeypatch.setattr(embedder, 'embed', lambda paths: seen.extend(paths) or original(paths))
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.added, done.known) == (1, 12)
    assert [path.name for path in seen] == ['1.png']


def test_a_csv_file_brings_metadata(people, embedder, tmp_path):
    table = people.parent / 'list.csv'
    table.write_text(
        'file,identity,year\nimages/person_a/person_a_0001.jpg,Ada,1843\nimages/none.jpg,Bob,1\n', 'utf-8'
    )
    gallery = create(tmp_path / 'g', embedder)
    done = enrol(gallery, embedder, read_sources(table))
    assert list(done.failures) == ['images/none.jpg']
    assert done.failures['images/none.jpg'].endswith('none.jpg: No such file or directory')
    [entry] = gallery.entries()
    assert (entry.identity, entry.metadata['year']) == ('Ada', 1843)
    assert entry_path(entry.metadata['folder'], entry.file).is_file()


def test_a_pipe_that_a_csv_file_names_is_left_out_and_not_waited_for(embedder, tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'list.csv').write_text('file,identity\n./pipe.jpg,Ana\n')
    done = enrol(create(tmp_path / 'g', embedder), embedder, read_sources(tmp_path / 'list.csv'))
    [reason] = done.failures.values()
    assert 'not a regular file' in reason


def test_bare_names_are_found_in_their_persons_folder(people, tmp_path):
    table = tmp_path / 'list.csv'
    table.write_text('file,identity\nperson_b_0002.jpg,person_b\n')
    [source] = read_sources(table, people)
    assert source.file == 'person_b/person_b_0002.jpg'
    assert source.path.is_file()


@pytest.mark.parametrize('file', ['../secret.jpg', '/etc/passwd', 'a/../../secret.jpg'])
def test_no_path_leads_out_of_its_folder(file, people, tmp_path):
    table = people / 'list.csv'
    table.write_text(f'file,identity\n{file},x\n')
    with pytest.raises(InputError, match='leads out of'):
        read_sources(table)
    with pytest.raises(InputError, match='leads out of'):
        entry_path(str(people), file)


def test_nothing_to_enrol(tmp_path):
    with pytest.raises(InputError, match='no images of people'):
        read_sources(tmp_path)
    with pytest.raises(InputError, match='none: no such folder or CSV file'):
        read_sources(tmp_path / 'none')


def test_answers_name_people_or_say_unknown(people, embedder, tmp_path):
    gallery = create(tmp_path / 'g', embedder)
    enrol(gallery, embedder, read_sources(people))
    probe = people / 'person_c' / 'person_c_0001.jpg'
    (tmp_path / 'x.jpg').write_text('no image')
    answers, failures = ask(gallery, embedder, [probe, tmp_path / 'x.jpg'], k=2)
    assert list(failures) == [str(tmp_path / 'x.jpg')]
    [answer] = answers
    assert answer.matches[0].file == 'person_c/person_c_0001.jpg'
    assert answer.matches[0].score == pytest.approx(1, abs=1e-5)
    assert len(answer.matches) == 2
    with Image.open(probe) as picture:
        picture.resize((63, 63)).save(tmp_path / 'smaller.png')
    [unknown], _ = ask(gallery, embedder, [tmp_path / 'smaller.png'], k=2, threshold=1)
    assert unknown.matches == ()
    assert unknown.nearest.score < 1

    sheet = draw_answers(gallery, [answer, unknown], tmp_path / 'sheets' / 's.png')
    with Image.open(sheet) as picture:
        assert picture.size[0] > 3 * 120
        assert picture.size[1] > 2 * 120
    probe.unlink()
    (people / 'person_c' / 'person_c_0002.jpg').rename(probe)  # an entry's image that is gone leaves a gap
    draw_answers(gallery, [answer], sheet)


def test_another_model_is_refused(people, embedder, tmp_path):
    gallery = create(tmp_path / 'g', embedder)
    model = build(norm=False)
    other = FaceEmbedder.of_model(model, recipe_of(model, 'other'))
    for call in (lambda: enrol(gallery, other, read_sources(people)), lambda: ask(gallery, other, [], 1)):
        with pytest.raises(InputError, match=r'was made with model .* this is'):
            call()


@pytest.mark.slow
def test_the_verbs(people, run, tmp_path, capsys):
    model = build()
    write_weights(published(model), tmp_path / 'w.safetensors')
    gallery = tmp_path / 'g'
    weights = ('--model', tmp_path / 'w.safetensors')
    (people / 'person_a' / 'broken.jpg').write_text('no image')

    done = run('-m', 'mbv1_backbone', 'gallery', 'build', gallery, people, *weights, *AS_THEY_ARE)
    assert done.stdout.strip().endswith('12 added, 0 known already, 1 left out; 12 entries of 4 people')
    assert 'left out: person_a/broken.jpg: ' in done.stderr
    code, _, err = call(capsys, 'build', gallery, people, *weights, *AS_THEY_ARE)
    assert (code, 'is not an empty folder' in err) == (2, True)

    probe = people / 'person_b' / 'person_b_0001.jpg'
    sheet = tmp_path / 'sheet.png'
    done = run(
        '-m',
        'mbv1_backbone',
        'gallery',
        'search',
        gallery,
        probe,
        *weights,
        '--top',
        '3',
        '--json',
        '--out',
        sheet,
    )
    [answer] = json.loads(done.stdout)['answers']
    assert answer['matches'][0]['identity'] == 'person_b'
    assert len(answer['matches']) == 3
    assert sheet.read_bytes().startswith(b'\x89PNG')
    assert f'{gallery}: no threshold yet' in done.stderr

    assert '3 removed, 9 left' in call(capsys, 'remove', gallery, '--identity', 'person_b')[1]
    assert 'say what to remove' in call(capsys, 'remove', gallery)[2]
    for wrong, said in (
        (('--identity', 'person_b'), "no entry of 'person_b'"),
        (('--identity', 'person_a', '--file', 'x.jpg'), "no entry of 'person_a' and 'x.jpg'"),
        (('--id', '1', '99'), 'no entry 99'),
    ):
        code, _, err = call(capsys, 'remove', gallery, *wrong)
        assert (code, said in err) == (2, True)
    assert 'are right' in call(capsys, 'verify', gallery)[1]
    (gallery / 'manifest.json').write_text('{}')
    code, _, err = call(capsys, 'verify', gallery)
    assert (code, err.startswith('error: ')) == (2, True)
    assert '9 entries' in call(capsys, 'repair', gallery)[1]


@pytest.mark.parametrize('by', ['best', 'mean'])
def test_people_are_matched_once_each(people, embedder, tmp_path, by):
    gallery = create(tmp_path / 'g', embedder)
    enrol(gallery, embedder, read_sources(people))
    probe = people / 'person_c' / 'person_c_0001.jpg'
    [answer], _ = ask(gallery, embedder, [probe], 4, by, threshold=None)
    [found] = gallery.search_identities(embedder.embed([probe]).vectors, 4, by, None)
    assert [m.identity for m in answer.matches] == [person.identity for person in found]
    assert len({m.identity for m in answer.matches}) == 4
    assert [m.score for m in answer.matches] == [person.score for person in found]


def test_parts_built_apart_merge_into_the_whole(people, embedder, model, tmp_path, capsys):
    write_weights(published(model), tmp_path / 'w.safetensors')
    model = ('--model', tmp_path / 'w.safetensors')
    for part in range(3):
        code, out, _ = call(
            capsys, 'build', tmp_path / str(part), people, *model, *AS_THEY_ARE, '--part', f'{part}/3'
        )
        assert code == 0
        assert ('entries of 2 people' if part == 0 else 'entries of 1 person') in out
    parts = [tmp_path / str(part) for part in range(3)]
    assert '12 entries now' in call(capsys, 'merge', tmp_path / 'whole', *parts)[1]
    assert '12 entries now' in call(capsys, 'merge', *parts)[1]
    for wrong in ('3/3', '1', 'a/b', '-1/2'):
        code, _, err = call(capsys, 'build', tmp_path / 'x', people, *model, f'--part={wrong}')
        assert (code, '--part must be I/N' in err) == (2, True)


def call(capsys, *args):
    """A verb in this process: its exit code and what it printed."""
    code = main(['gallery', *map(str, args)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_quieter_verbs(people, embedder, model, tmp_path, capsys):
    write_weights(published(model), tmp_path / 'w.safetensors')
    folder = tmp_path / 'g'
    gallery = create(folder, embedder)
    enrol(gallery, embedder, read_sources(people))

    code, out, _ = call(capsys, 'list', folder, '--identity', 'person_d')
    assert (code, len(out.splitlines())) == (0, 3)
    entry = json.loads(out.splitlines()[0])
    assert call(capsys, 'update', folder, entry['id'], '--set', 'team=red')[0] == 0
    assert json.loads(call(capsys, 'get', folder, entry['id'])[1])['metadata']['team'] == 'red'
    assert len(call(capsys, 'list', folder, '--where', 'team=red')[1].splitlines()) == 1
    assert 'key=value' in call(capsys, 'list', folder, '--where', 'team')[2]
    assert json.loads(call(capsys, 'stats', folder)[1])['entries'] == 12
    assert 'index: Flat' in call(capsys, 'rebuild', folder, '--index', 'Flat')[1]
    assert 'bytes before' in call(capsys, 'compact', folder)[1]
    assert call(capsys, 'calibrate', folder, '--fpir', '0.25')[1].startswith('threshold ')
    assert 'needs 1000 non-mated probes' in call(capsys, 'calibrate', folder, '--fpir', '0.001')[2]
    np.savez(tmp_path / 's.npz', files=['a', 'b'], embeddings=np.eye(16)[:2])
    out = call(capsys, 'calibrate', folder, '--fpir', '0.5', '--non-mated', tmp_path / 's.npz')[1]
    assert 'from 2 non-mated probes' in out

    assert call(capsys, 'rename', folder, 'person_d', 'Dora')[1] == '3 entries of Dora\n'
    assert "no entry of 'person_d'" in call(capsys, 'rename', folder, 'person_d', 'x')[2]
    assert call(capsys, 'merge-people', folder, 'Dora', '--into', 'person_d')[0] == 0
    assert call(capsys, 'backup', folder, '--out-dir', tmp_path / 'b')[1].endswith('12 entries\n')
    assert call(capsys, 'correct', tmp_path / 'b', 1, 2)[1] == '2 corrected, 10 entries\n'
    assert '12 entries' in call(capsys, 'export', folder, '--out', tmp_path / 'e.npz')[1]
    assert '12 of them new; 12 now' in call(capsys, 'import', tmp_path / 'h', tmp_path / 'e.npz')[1]
    assert '12 entries, 0 of them new' in call(capsys, 'merge', folder, tmp_path / 'h')[1]
    (people / 'person_a' / 'person_a_0001.jpg').unlink()
    model = ('--model', tmp_path / 'w.safetensors')
    code, out, err = call(capsys, 'reembed', folder, '--out-dir', tmp_path / 'n', *model)
    assert '11 of 12 entries' in out
    assert 'left out: person_a/person_a_0001.jpg' in err
    assert call(capsys, 'get', folder, 999)[0] == 2
    assert Path(folder, 'gallery.sqlite').is_file()


def test_faces_of_a_low_quality_are_left_out_with_the_reason(people, model, tmp_path):
    """Two faces are found in every image, the second one of 30 pixels."""

    def two(image):
        boxes = np.array([[2, 2, image.shape[1] - 2, image.shape[0] - 2], [4, 6, 34, 36]], np.float32)
        return Faces(boxes, np.array([0.9, 0.8], np.float32))

    embedder = FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(two, 'all'))
    sources = read_sources(people)
    places = embedder.embed([sources[0].path]).places
    large, small = (place.quality.value for place in places)
    assert small < large
    gallery = create(tmp_path / 'g', embedder)
    with pytest.raises(InputError, match=r'min_quality must lie in 0\.\.1, got 1\.5'):
        enrol(gallery, embedder, sources, min_quality=1.5)
    assert enrol(gallery, embedder, sources, min_quality=1.0).added == 0
    assert len(gallery) == 0
    done = enrol(gallery, embedder, sources[:1], min_quality=(small + large) / 2)
    assert (done.added, done.known) == (1, 0)
    [(face, reason)] = done.failures.items()
    assert face == f'{sources[0].file}, face at 4, 6'
    assert reason.startswith(f'quality {small:.2f} (side 30 pixels, sharpness ')
    assert reason.endswith('is asked for')
    assert gallery.get(1).quality == pytest.approx(large)
    again = enrol(gallery, embedder, sources[:1], min_quality=(small + large) / 2)
    assert (again.added, again.known, list(again.failures)) == (0, 1, [face])
    assert enrol(gallery, embedder, sources[:1]).added == 1
