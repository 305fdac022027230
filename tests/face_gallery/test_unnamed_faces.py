"""Photographs whose people nobody has named: enrolled, grouped, drawn, corrected, by Python and by verbs."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.embedders import published

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.face_gallery import ask, draw_answers, draw_groups, enrol, read_photographs, read_sources
from mbv1_backbone.face_gallery.enrolment import POOR, poor_faces
from mbv1_backbone.face_gallery.pictures import SIDE, entry_picture
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.retrieval import Entry, Gallery, cluster
from mbv1_backbone.retrieval.unnamed import is_alone, is_group, unnamed
from mbv1_backbone.weights import write_weights

GAP = 40  # pixels between two faces of a photograph


def halves(image):
    """A detector of the two faces that ``photographs`` puts side by side; the left one is the better one."""
    boxes = np.array([[0, 0, 64, 64], [64 + GAP, 0, 128 + GAP, 64]], np.float32)
    return Faces(boxes, np.array([0.9, 0.8], np.float32))


def draw_copies(folder, people, images):
    """PERSON/PERSON_N.png: a pattern a person, the same in each of the images, whose files differ."""
    rng = np.random.default_rng(0)
    for letter in 'abcd'[:people]:
        name = f'person_{letter}'
        pattern = Image.fromarray(rng.integers(30, 226, (4, 4, 3), dtype=np.uint8))
        (folder / name).mkdir(parents=True)
        for number in range(1, images + 1):
            said = PngInfo()
            said.add_text('number', str(number))
            face = pattern.resize((64, 64), Image.Resampling.BILINEAR)
            face.save(folder / name / f'{name}_{number}.png', pnginfo=said)
    return folder


@pytest.fixture
def photographs(tmp_path):
    """Two people a photograph, three of each couple: a with b, c with d; some lie deeper than others."""
    people = draw_copies(tmp_path / 'people', people=4, images=3)
    for left, right in ('ab', 'cd'):
        for number in (1, 2, 3):
            picture = Image.new('RGB', (128 + GAP, 64))
            for place, letter in ((0, left), (64 + GAP, right)):
                name = f'person_{letter}'
                picture.paste(Image.open(people / name / f'{name}_{number}.png'), (place, 0))
            folder = tmp_path / 'photographs' / ('deep/deeper' if number == 1 else '.')
            folder.mkdir(parents=True, exist_ok=True)
            said = PngInfo()
            said.add_text('number', str(number))
            picture.save(folder / f'{left}{right}{number}.png', pnginfo=said)
    return tmp_path / 'photographs'


@pytest.fixture
def every(model):
    return FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(halves, 'all'))


@pytest.fixture
def gallery(tmp_path, every, photographs):
    with Gallery.create(tmp_path / 'g', every.dims, every.fingerprint, every.preprocessing) as opened:
        enrol(opened, every, read_photographs(photographs))
        yield opened


def test_every_face_of_a_folder_gets_an_automatic_name_once(gallery, every, photographs):
    entries = list(gallery.entries())
    assert len(entries) == 12
    assert all(entry.identity == unnamed(entry.sha256, entry.box) for entry in entries)
    assert {entry.file for entry in entries} >= {'deep/deeper/ab1.png', 'cd3.png'}
    again = enrol(gallery, every, read_photographs(photographs))
    assert (again.added, again.known, again.other_names) == (0, 6, [])
    cluster(gallery, 0.9)
    again = enrol(gallery, every, read_photographs(photographs))
    assert (again.added, again.known, again.other_names) == (0, 6, [])


def test_faces_of_too_low_a_quality_stay_left_out_and_are_no_known_ones(tmp_path, model, photographs):
    def lopsided(image):
        boxes = np.array([[0, 0, 64, 64], [64 + GAP, 0, 88 + GAP, 24]], np.float32)
        return Faces(boxes, np.array([0.9, 0.8], np.float32))

    embedder = FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(lopsided, 'all'))
    qualities = [place.quality.value for place in embedder.embed([photographs / 'ab2.png']).places]
    between = sum(qualities) / 2
    sources = [source for source in read_photographs(photographs) if 'ab' in source.file]
    tied = embedder.dims, embedder.fingerprint, embedder.preprocessing
    with Gallery.create(tmp_path / 'g', *tied) as gallery:
        first = enrol(gallery, embedder, sources, min_quality=between)
        again = enrol(gallery, embedder, sources, min_quality=between)
        assert [(d.added, d.known, len(d.failures)) for d in (first, again)] == [(3, 0, 3), (0, 3, 3)]
        assert again.failures.keys() == first.failures.keys()
        assert all(why.endswith(f'{between:g} is asked for') for why in again.failures.values())
        lower = enrol(gallery, embedder, sources)
        assert (lower.added, lower.failures, len(gallery)) == (3, {}, 6)
        last = enrol(gallery, embedder, sources, min_quality=between)
        assert (last.added, last.known, last.failures) == (0, 3, {})


def test_further_faces_of_named_photographs_are_added_without_names(tmp_path, model, every, photographs):
    largest = FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(halves, 'largest'))
    with Gallery.create(tmp_path / 'h', every.dims, every.fingerprint, every.preprocessing) as gallery:
        (photographs / 'Ada').mkdir()
        (photographs / 'ab2.png').rename(photographs / 'Ada' / 'ab2.png')
        sources = [source for source in read_sources(photographs) if source.identity == 'Ada']
        assert enrol(gallery, largest, sources).added == 1
        done = enrol(gallery, every, read_photographs(photographs))
        assert (done.added, gallery.identities()['Ada']) == (11, 1)
        assert enrol(gallery, every, read_photographs(photographs)).added == 0


def test_groups_are_the_people_and_are_drawn_by_their_boxes(gallery, tmp_path):
    found = cluster(gallery, 0.9)
    assert [len(group.ids) for group in found.groups] == [3, 3, 3, 3]
    for group in found.groups:
        assert len({gallery.get(i).box for i in group.ids}) == 1  # left or right, of one couple
    gallery.not_this_person(found.groups[0].ids[:1])
    written = draw_groups(gallery, cluster(gallery, 0.9), tmp_path / 'sheets')
    names = sorted(path.name for path in written)
    assert names == sorted(path.name for path in (tmp_path / 'sheets').iterdir())
    assert names == sorted(['alone.png', 'overview.png', *(f'{g.identity}.png' for g in found.groups)])
    right = gallery.get(next(e.id for e in gallery.entries() if e.box[0]))
    picture = entry_picture(right)
    assert picture.shape == (SIDE, SIDE, 3)
    photograph = read_image(tmp_path / 'photographs' / right.file)
    middle = photograph[28:36, 64 + GAP + 28 : 64 + GAP + 36].mean((0, 1))
    assert np.abs(picture[56:64, 56:64].mean((0, 1)) - middle).max() < 12
    (tmp_path / 'photographs' / right.file).unlink()
    assert entry_picture(right) is None
    assert len(draw_groups(gallery, cluster(gallery, 0.9), tmp_path / 'more')) == 6


def test_a_probe_is_drawn_as_its_face(gallery, every, photographs, tmp_path):
    probe = photographs / 'cd2.png'
    answers, _ = ask(gallery, every, [probe], 1)
    assert [answer.box for answer in answers] == [(0, 0, 64, 64), (64 + GAP, 0, 128 + GAP, 64)]
    assert [answer.as_dict()['box'] for answer in answers] == [answer.box for answer in answers]
    sheet = np.asarray(Image.open(draw_answers(gallery, answers, tmp_path / 'answers.png')))
    rows = [6, 6 + SIDE + 2 * 15 + 6]  # a tile, two lines, and a gap
    for top in rows:  # a probe, and beside it the very same face
        probe_tile, match_tile = (sheet[top : top + SIDE, left : left + SIDE] for left in (6, 132))
        assert (probe_tile == match_tile).all()
    assert (sheet[rows[0] : rows[0] + SIDE, 6:126] != sheet[rows[1] : rows[1] + SIDE, 6:126]).any()


def test_photographs_are_a_folder(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'list.csv').write_text('file,identity\n')
    for place, complaint in (
        ('list.csv', 'no such folder'),
        ('none', 'no such folder'),
        ('empty', 'no image'),
    ):
        with pytest.raises(InputError, match=complaint):
            read_photographs(tmp_path / place)


@pytest.fixture
def call(tmp_path, model, capsys):
    """Run a verb of ``mbv1 gallery``; its code, what it printed, and what it complained of."""
    write_weights(published(model), tmp_path / 'w.safetensors')

    def run(verb, *args):
        weights = ('--model', str(tmp_path / 'w.safetensors'), '--detector', 'none')
        code = main(
            [
                'gallery',
                verb,
                *map(str, args),
                *(weights if verb in ('build', 'add', 'search', 'reembed') else ()),
            ]
        )
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_verbs_lead_from_photographs_to_people(call, tmp_path):
    draw_copies(tmp_path / 'people', people=3, images=3)
    crops, folder = tmp_path / 'people', tmp_path / 'g'
    code, out, _ = call('build', folder, crops, '--unnamed')
    assert (code, out.splitlines()[-1]) == (
        0,
        '9 added, 0 known already; 9 entries of 0 people, 0 groups and 9 faces alone',
    )
    code, out, _ = call('cluster', folder, '--threshold', '.9', '--out-dir', tmp_path / 'sheets')
    assert code == 0
    *lines, last = out.splitlines()
    assert all(re.fullmatch(r'group-\w{10}  3 faces in 3 photographs  cohesion 1\.000', x) for x in lines)
    assert last == '9 faces in 3 groups, 0 alone; given threshold 0.900; 9 entries have got another name'
    groups = [line.split()[0] for line in lines]
    assert {f'{group}.png' for group in groups} < {path.name for path in (tmp_path / 'sheets').iterdir()}
    assert call('rename', folder, groups[0], 'Ada')[1] == '3 entries of Ada\n'
    assert call('split', folder, '5', '6')[:2][0] == 0
    assert call('correct', folder, '7')[0] == 0
    code, out, _ = call('cluster', folder, '--threshold', '.9', '--json')
    found = json.loads(out)
    assert [group['ids'] for group in found['groups']] == [[5, 6], [8, 9]]
    assert (found['alone'], found['origin']) == ([4, 7], 'given')
    one, other = (group['identity'] for group in found['groups'])
    assert call('merge-people', folder, other, '--into', groups[1])[0] == 2  # which nobody has any more
    assert call('merge-people', folder, other, '--into', one)[0] == 0
    with Gallery(folder) as gallery:
        names = [entry.identity for entry in gallery.entries()]
        assert names[:3] == ['Ada'] * 3
        assert is_alone(names[3])
        assert is_alone(names[6])
        assert is_group(names[4])
        assert names[7:] == [one] * 2
    code, out, _ = call('add', folder, crops, '--unnamed')
    assert out == '0 added, 9 known already; 9 entries of 1 person, 1 group and 2 faces alone\n'


def test_what_was_said_outlives_reembed(call, photographs, tmp_path, monkeypatch):
    def named_finder(detector, policy):
        return FaceFinder(Halves(), policy)

    class Halves:
        identity = 'halves'

        def open(self):
            """As detectors that are fetched."""

        def __call__(self, image):
            return halves(image)

    monkeypatch.setattr('mbv1_backbone.cli.gallery.embedders.named_finder', named_finder)
    folder, new = tmp_path / 'g', tmp_path / 'new'
    assert call('build', folder, photographs, '--unnamed')[0] == 0
    groups = json.loads(call('cluster', folder, '--threshold', '.9', '--json')[1])['groups']
    assert [len(group['ids']) for group in groups] == [3, 3, 3, 3]
    assert call('rename', folder, groups[3]['identity'], 'Ada')[0] == 0
    assert call('correct', folder, groups[0]['ids'][0])[0] == 0
    assert call('split', folder, *groups[1]['ids'][:2])[0] == 0
    assert call('merge-people', folder, groups[1]['identity'], '--into', groups[2]['identity'])[0] == 0
    code, out, err = call('reembed', folder, '--out-dir', new)
    assert (code, out) == (0, f'{new}: 12 of 12 entries\n'), err
    found, before = (json.loads(call('cluster', g, '--threshold', '.9', '--json')[1]) for g in (new, folder))
    assert found == before
    assert sorted(len(group['ids']) for group in found['groups']) == [2, 2, 4]
    assert found['alone'] == groups[0]['ids'][:1]
    assert found['changed'] == 0
    with Gallery(new) as gallery:
        assert gallery.identities()['Ada'] == 3


def test_only_so_many_probes_are_searched_for(call, tmp_path):
    draw_copies(tmp_path / 'people', people=2, images=2)
    assert call('build', tmp_path / 'g', tmp_path / 'people')[0] == 0
    code, out, _ = call('search', tmp_path / 'g', tmp_path / 'people', '--num', '3', '--json')
    probes = [answer['probe'] for answer in json.loads(out)['answers']]
    assert (code, [probe[-5:] for probe in probes]) == (0, ['1.png', '2.png', '1.png'])


def test_groups_are_measured_on_people_who_are_known(call, tmp_path):
    draw_copies(tmp_path / 'people', people=3, images=3)
    assert call('build', tmp_path / 'g', tmp_path / 'people')[0] == 0
    before = (tmp_path / 'g' / 'gallery.sqlite').read_bytes()
    code, out, _ = call('cluster', tmp_path / 'g', '--evaluate', '--threshold', '.9')
    assert code == 0
    assert out.startswith('9 faces of 3 people in 3 groups, threshold 0.900: B-cubed precision 1.0000, ')
    assert out.endswith('recall 1.0000, F 1.0000\n')
    code, out, _ = call('cluster', tmp_path / 'g', '--evaluate', '--threshold', '-1', '--json')
    figures = json.loads(out)
    assert (figures['precision'], figures['recall'], figures['groups']) == (pytest.approx(1 / 3), 1, 1)
    assert figures['f'] == pytest.approx(0.5)
    assert (tmp_path / 'g' / 'gallery.sqlite').read_bytes() == before


def test_what_the_verbs_refuse_is_one_line(call, tmp_path):
    draw_copies(tmp_path / 'people', people=2, images=2)
    crops, folder, sheets = tmp_path / 'people', tmp_path / 'g', tmp_path / 'sheets'
    for args, complaint in (
        (('build', folder, tmp_path / 'none', '--unnamed'), 'none: no such folder of photographs'),
        (('build', folder, crops, '--unnamed', '--root', crops), '--root goes with a CSV file'),
        (('cluster', folder), 'not a gallery'),
    ):
        code, out, err = call(*args)
        assert (code, out, err.count('\n'), complaint in err) == (2, '', 1, True), err
        assert not folder.exists()
    assert call('build', folder, crops)[0] == 0
    sheets.mkdir()
    (sheets / 'mine.txt').write_text('x')
    for args, complaint in (
        (('cluster', folder), 'every face has a name; mbv1 gallery add --unnamed'),
        (('cluster', folder, '--threshold', '2'), 'must lie in -1..1, got 2'),
        (('cluster', folder, '--out-dir', sheets), 'is not an empty folder'),
        (('cluster', folder, '--evaluate', '--out-dir', tmp_path / 'new'), '--evaluate names no groups'),
        (('split', folder, '1', '3'), 'entries of one person are split, got 2 of 2 people'),
        (('split', folder, '1', '2'), "these are all entries of 'person_a': rename changes it"),
        (('split', folder, '9'), 'no entry 9'),
        (('split', folder, '1', '--identity', 'person_a'), "entry 1 has the name 'person_a' already"),
    ):
        code, out, err = call(*args)
        assert (code, out, err.count('\n'), complaint in err) == (2, '', 1, True), err
    with Gallery(folder) as gallery:
        assert gallery.identities() == dict(person_a=2, person_b=2)
        assert gallery.corrections() == []
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('value', [5, True, 'text', [5], [{}], [dict(box=None, quality=0.5)], dict(box=1)])
def test_anybodys_metadata_of_that_key_says_nothing(value):
    entry = Entry(1, 'Ada', 'f.jpg', '0' * 64, 0.0, {POOR: value})
    right = dict(box=[1, 2, 3, 4], quality=0.25)
    assert poor_faces([entry]) == []
    assert poor_faces([entry, replace(entry, metadata={POOR: [5, right]})]) == [
        dict(box=(1, 2, 3, 4), quality=0.25)
    ]
