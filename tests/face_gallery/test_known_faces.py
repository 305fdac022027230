"""Photographs with several faces, and files that a gallery knows: moved, renamed, of two people."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support.embedders import published
from support.people import draw_people

from mbv1_backbone.cli.main import main
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.face_gallery.enrolment import enrol
from mbv1_backbone.face_gallery.faces import embed_entries
from mbv1_backbone.face_gallery.sources import entry_path, read_sources
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.weights import write_weights


@pytest.fixture
def people(tmp_path):
    return draw_people(tmp_path / 'people', people=3, images=2) / 'images'


def create(folder, embedder):
    return Gallery.create(folder, embedder.dims, embedder.fingerprint, embedder.preprocessing)


def halves(image):
    """A detector of two faces, the right one a little larger; elsewhere by a pixel each time."""
    halves.calls += 1
    shift = halves.calls % 2
    height, width = image.shape[:2]
    boxes = np.array([[0, shift, width // 2 - 4, height], [width // 2, 0, width - shift, height]], np.float32)
    marks = np.array([[(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]])
    marks = boxes[:, None, :2] + marks * (boxes[:, None, 2:] - boxes[:, None, :2])
    return Faces(boxes, np.array([0.8, 0.9], np.float32), marks.astype(np.float32))


halves.calls = 0


def with_finder(model, policy):
    return FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(halves, policy))


@pytest.fixture
def group(people, tmp_path):
    """A photograph with two people's faces, side by side."""
    pair = [Image.open(people / f'person_{c}' / f'person_{c}_0001.jpg') for c in 'ab']
    photograph = Image.new('RGB', (128, 64))
    for place, face in enumerate(pair):
        photograph.paste(face, (64 * place, 0))
    (tmp_path / 'group' / 'Both').mkdir(parents=True)
    photograph.save(tmp_path / 'group' / 'Both' / 'g.png')
    return tmp_path / 'group'


def test_every_face_of_a_photograph_is_an_entry(model, group, tmp_path):
    every = with_finder(model, 'all')
    gallery = create(tmp_path / 'g', every)
    done = enrol(gallery, every, read_sources(group))
    assert (done.added, done.known) == (2, 0)
    right, left = gallery.entries()
    assert (right.box[0], left.box[0], right.sha256 == left.sha256) == (64, 0, True)
    assert right.detector_score == pytest.approx(0.9)
    assert len(right.landmarks) == 5
    again = enrol(gallery, every, read_sources(group))
    assert (again.added, again.known, len(gallery)) == (0, 1, 2)


def test_further_faces_of_a_known_photograph_are_added(model, group, tmp_path):
    largest, every = with_finder(model, 'largest'), with_finder(model, 'all')
    gallery = create(tmp_path / 'g', largest)
    assert enrol(gallery, largest, read_sources(group)).added == 1
    assert enrol(gallery, every, read_sources(group)).added == 1  # and not the first one, a pixel off
    assert [entry.box[0] for entry in gallery.entries()] == [64, 0]


def test_each_face_is_embedded_anew_by_its_box(model, embedder, group, tmp_path):
    every = with_finder(model, 'all')
    gallery = create(tmp_path / 'g', every)
    enrol(gallery, every, read_sources(group))
    stored = list(gallery.entries_with_vectors())
    halves(np.zeros((64, 128, 3)))  # so that it finds them to the pixel where they were
    vectors, lost = embed_entries(every, [entry for entry, _ in reversed(stored)])
    assert lost == {}
    for (_, before), vector in zip(reversed(stored), vectors, strict=True):
        assert before @ vector > 0.999
    assert stored[0][1] @ stored[1][1] < 0.9
    vectors, lost = embed_entries(embedder, [stored[0][0]])  # which finds none, and must not take the middle
    assert vectors == [None]
    assert 'no face is found at the box' in lost['Both/g.png']


def test_a_moved_folder_is_brought_up_to_date(people, embedder, tmp_path):
    gallery = create(tmp_path / 'g', embedder)
    enrol(gallery, embedder, read_sources(people))
    moved = people.rename(tmp_path / 'elsewhere')
    done = enrol(gallery, embedder, read_sources(moved))
    assert (done.added, done.known, done.moved) == (0, 6, 6)
    for entry in gallery.entries():
        assert entry_path(entry.metadata['folder'], entry.file).is_file()
    shutil.copytree(moved, tmp_path / 'copy')  # a copy is no move
    assert enrol(gallery, embedder, read_sources(tmp_path / 'copy')).moved == 0


def test_a_renamed_person_is_told_by_both_names(people, embedder, tmp_path):
    gallery = create(tmp_path / 'g', embedder)
    enrol(gallery, embedder, read_sources(people))
    (people / 'person_a').rename(people / 'Ada')
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.added, done.known, done.moved, len(done.other_names)) == (0, 4, 2, 2)
    assert str(done.other_names[0]).startswith('Ada/person_a_0001.jpg of Ada is the same file as person_a/')
    assert str(done.other_names[0]).endswith('of person_a')
    gallery.rename('person_a', 'Ada')
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.known, done.moved, done.other_names) == (6, 0, [])


def test_one_photograph_under_two_names_in_one_run(people, embedder, tmp_path):
    shutil.copy(people / 'person_a' / 'person_a_0001.jpg', people / 'person_c' / 'x.jpg')
    (people / 'person_a' / 'bad.jpg').write_text('x')
    shutil.copy(people / 'person_a' / 'bad.jpg', people / 'person_c' / 'bad.jpg')
    gallery = create(tmp_path / 'g', embedder)
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.added, done.known) == (6, 0)
    [other] = done.other_names
    assert (other.file, other.identity, other.entry.identity) == ('person_c/x.jpg', 'person_c', 'person_a')
    assert sorted(done.failures) == ['person_a/bad.jpg', 'person_c/bad.jpg']
    gallery.not_this_person([other.entry.id], 'person_c')  # what was corrected is no question any more
    done = enrol(gallery, embedder, read_sources(people))
    assert (done.known, done.other_names) == (7, [])


def test_a_build_of_nothing_is_refused_and_blocks_nothing(people, model, tmp_path, capsys):
    write_weights(published(model), tmp_path / 'w.safetensors')
    table = tmp_path / 'list.csv'
    table.write_text('file,identity\nnone.jpg,Ana\nx.jpg,Ana,spare\n')

    def call(verb, *more):
        code = main(
            ['gallery', verb, str(tmp_path / 'g'), str(table), '--root', str(people), *weights, *more]
        )
        said = capsys.readouterr()
        return code, said.out, said.err

    weights = ('--model', str(tmp_path / 'w.safetensors'), '--detector', 'none')
    code, _, err = call('build')
    assert code == 2
    assert 'list.csv: none of 2 can be enrolled, the first: line 3: has 3 cells' in err
    assert not (tmp_path / 'g').exists()
    table.write_text('file,identity\nperson_a_0001.jpg,person_a\nperson_a/person_a_0001.jpg,Bob\n')
    code, out, err = call('build')
    assert (code, out.startswith('1 added, 0 known already, 1 under another name; 1 entry of 1 person')) == (
        0,
        True,
    )
    assert 'of Bob is the same file as person_a/person_a_0001.jpg, entry 1 of person_a' in err
    assert f'mbv1 gallery rename {tmp_path / "g"} OLD NEW' in err
    table.write_text('file,identity\nnone.jpg,Ana\n')
    assert call('add')[0] == 2
    assert '--part 1/2: nobody is in it' in call('add', '--part', '1/2')[2]
