"""The gallery's verbs on one in a folder and on one on a Milvus server: the same, or refused by name."""

import json

import pytest
from support.crowd import DIM, people
from support.embedders import build, published
from support.gallery_kinds import KINDS, Kind
from support.people import draw_people

from mbv1_backbone.cli.main import main
from mbv1_backbone.retrieval import Gallery, open_gallery
from mbv1_backbone.weights import write_weights

VECTORS, NAMES, FILES, HASHES = people(20, images=3)
METADATA = [{'year': 1990 + i, 'team': 'red' if i % 2 else 'a, "b'} for i in range(60)]


@pytest.fixture(params=KINDS, scope='module')
def kind(request, tmp_path_factory):
    yield from Kind.opened(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def place(kind):
    with kind.made(DIM, 'm', {'size': 112}, {'model': 'mine'}) as gallery:
        gallery.add(VECTORS, NAMES, FILES, HASHES, METADATA)
        return gallery.place


@pytest.fixture
def call(capsys):
    def called(*args, code=0):
        assert main(['gallery', *map(str, args)]) == code, capsys.readouterr().err
        said = capsys.readouterr()
        assert 'Traceback' not in said.err
        return said.err if code else said.out

    return called


def test_entries_are_listed_changed_and_removed(place, call):
    listed = [
        json.loads(line) for line in call('list', place, '--where', 'year>=2040', 'team=red').splitlines()
    ]
    assert {one['file'] for one in listed} == {FILES[i] for i in range(50, 60) if i % 2}
    [one] = [json.loads(line) for line in call('list', place, '--file', FILES[7]).splitlines()]
    call('update', place, one['id'], '--set', 'year=1843')
    assert json.loads(call('get', place, one['id']))['metadata'] == {'team': 'red', 'year': 1843}
    assert call('rename', place, NAMES[0], 'Ada') == '3 entries of Ada\n'
    assert (
        call('merge-people', place, 'Ada', NAMES[3], '--into', NAMES[6])
        == f'6 entries renamed; 9 of {NAMES[6]}\n'
    )
    assert call('remove', place, '--identity', NAMES[6], '--id', one['id']) == '9 removed, 51 left\n'
    assert 'no entry of' in call('remove', place, '--identity', 'Ada', code=2)
    assert "no entry has metadata of the key 'yaer'" in call('list', place, '--where', 'yaer=1', code=2)
    assert f"did you mean '{NAMES[9]}'" in call('list', place, '--identity', NAMES[9] + '-', code=2).lower()


def test_the_whole_is_described_checked_and_calibrated(place, call):
    stats = json.loads(call('stats', place, '--read-only'))
    assert (stats['entries'], stats['identities'], stats['calibration']) == (60, 20, None)
    assert stats['made_with'].startswith('mine, hash m; size 112')
    assert call('verify', place) == '60 entries and 60 vectors in the index are right\n'
    assert call('calibrate', place, '--fpir', '0.1').startswith('threshold ')
    assert json.loads(call('stats', place))['calibration']['fpir'] == 0.1


def test_entries_go_from_place_to_place(kind, place, call, tmp_path):
    call('calibrate', place, '--fpir', '0.1')
    call('export', place, '--out', tmp_path / 'all.npz')
    again = kind.place()
    assert '60 of them new; 60 now' in call('import', again, tmp_path / 'all.npz')
    with open_gallery(again) as gallery:
        assert (len(gallery), gallery.calibration['fpir']) == (60, 0.1)
    merged = kind.place()
    assert call('merge', merged, place, again).endswith('60 entries now\n')
    assert '60 of them sent now; all are equal' in call('copy', place, tmp_path / 'folder')
    assert '0 of them sent now; all are equal' in call('copy', place, tmp_path / 'folder')
    back = kind.place()
    assert '60 of them sent now; all are equal' in call('copy', tmp_path / 'folder', back)
    with open_gallery(back) as gallery:
        assert {e.file: e.metadata for e in gallery.entries()} == dict(zip(FILES, METADATA, strict=True))


def test_a_merge_that_is_refused_leaves_nothing(kind, place, call, tmp_path):
    with Gallery.create(tmp_path / 'other', DIM, 'other') as gallery:
        gallery.add(*people(3, seed=4))
    new = kind.place()
    assert "has model 'other'" in call('merge', new, place, tmp_path / 'other', code=2)
    assert 'not a gallery' in call('stats', new, code=2)
    assert call('merge', new, place).endswith('60 entries now\n')


REFUSED = [
    ('cluster', [], 'a gallery on Milvus has no cluster: it keeps no corrections'),
    ('correct', ['1'], 'a gallery on Milvus has no correct: it keeps no corrections'),
    ('split', ['1'], 'a gallery on Milvus has no split: it keeps no corrections'),
    ('compact', [], 'a gallery on Milvus has no compact: the server keeps its files'),
    ('rebuild', [], 'a gallery on Milvus has no rebuild: the server keeps its files'),
    ('repair', [], 'a gallery on Milvus has no repair: the server keeps its files'),
    ('backup', ['--out-dir', 'NEW'], 'a gallery on Milvus has no backup: '),
    ('search', ['x.jpg', '--model', 'm', '--recall', '.9'], 'a gallery on Milvus has no search --recall: '),
]


@pytest.mark.parametrize(('verb', 'more', 'message'), REFUSED, ids=[verb for verb, _, _ in REFUSED])
def test_what_a_server_s_gallery_cannot_do_is_refused_before_any_work(call, tmp_path, verb, more, message):
    more = [str(tmp_path / 'new') if word == 'NEW' else word for word in more]
    said = call(verb, 'milvus://127.0.0.1:1/people', *more, code=2)
    assert said.count('\n') == 1
    assert message in said
    assert not (tmp_path / 'new').exists()


def test_corrections_do_not_vanish_on_the_way_to_a_server(kind, call, tmp_path):
    with Gallery.create(tmp_path / 'said', DIM, 'm') as gallery:
        ids = gallery.add(VECTORS, NAMES, FILES, HASHES).ids
        gallery.not_this_person(ids[:1])
    target = kind.place()
    if kind.name == 'folder':
        call('copy', tmp_path / 'said', target)
        with open_gallery(target) as gallery:
            assert len(gallery.corrections()) == 1
        return
    assert '1 correction of faces' in call('copy', tmp_path / 'said', target, code=2)
    assert 'not a gallery' in call('stats', target, code=2)
    assert '59 entries' in call('copy', tmp_path / 'said', target, '--without-corrections')


def test_addresses_are_checked_as_they_are_parsed(call, tmp_path):
    code = call('build', 'milvus://127.0.0.1:1/a b', tmp_path, '--model', 'nothing', code=2)
    assert 'letters, digits and _ only' in code


def test_a_server_that_is_not_there_is_one_line(call, monkeypatch):
    monkeypatch.setenv('MBV1_MILVUS_TIMEOUT', '0.3')
    for verb in (['stats'], ['list'], ['rename', 'a', 'b'], ['export', '--out', 'x.npz']):
        said = call(verb[0], 'milvus://127.0.0.1:1/people', *verb[1:], code=2)
        assert said == ('error: milvus://127.0.0.1:1/people: the server does not answer within 0.3 seconds\n')
    monkeypatch.setenv('MBV1_MILVUS_TIMEOUT', 'soon')
    assert "must be seconds, above 0 and below 600, got 'soon'" in call('stats', 'milvus://h/p', code=2)


def test_people_are_enrolled_found_and_embedded_anew(kind, call, tmp_path):
    images = draw_people(tmp_path / 'people', people=3, images=2) / 'images'
    write_weights(published(build()), tmp_path / 'w.safetensors')
    network = ('--model', tmp_path / 'w.safetensors', '--detector', 'none')
    place = kind.place()
    assert call('build', place, images, *network).endswith(
        '6 added, 0 known already; 6 entries of 3 people\n'
    )
    assert '0 added, 6 known already' in call('add', place, images, *network)
    probe = images / 'person_b' / 'person_b_0001.jpg'
    for by in ((), ('--by', 'best'), ('--by', 'mean')):
        out = call('search', place, probe, *network, '--json', '--top', 2, *by)
        [answer] = json.loads(out)['answers']
        assert answer['matches'][0]['identity'] == 'person_b'
    call('search', place, probe, *network, '--identity', 'person_a', '--out', tmp_path / 'sheet.png')
    assert (tmp_path / 'sheet.png').is_file()
    assert '6 of 6 entries' in call('reembed', place, '--out-dir', tmp_path / 'new', *network)
    with kind.made(128, 'other-model') as other:
        there = other.place
    said = call('add', there, images, *network, code=2)
    assert f'gallery {there} was made with model other-model, this is ' in said
    new = kind.place()
    (tmp_path / 'broken' / 'x').mkdir(parents=True)
    (tmp_path / 'broken' / 'x' / '1.jpg').write_text('no image')
    assert 'none of 1 can be enrolled' in call('build', new, tmp_path / 'broken', *network, code=2)
    assert 'not a gallery' in call('stats', new, code=2)
