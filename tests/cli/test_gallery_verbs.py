"""The gallery's verbs that need no network: what they leave after an error, and what they ask for."""

import errno
import json

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.cli.gallery.entries import read_conditions, read_metadata
from mbv1_backbone.cli.gallery.people import _lines
from mbv1_backbone.cli.main import build_parser, main
from mbv1_backbone.common.errors import InputError, NoSpaceError
from mbv1_backbone.face_gallery.answers import Answer
from mbv1_backbone.retrieval import Gallery, maintenance, tune
from mbv1_backbone.retrieval.export import export
from mbv1_backbone.retrieval.records import Match


def made(folder, model='m', metadata=None):
    gallery = Gallery.create(folder, DIM, model, dict(size=112))
    gallery.add(*people(3), metadata)
    return gallery


def call(capsys, *args):
    code = main(['gallery', *map(str, args)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_merge_that_is_refused_leaves_no_gallery(tmp_path, capsys):
    made(tmp_path / 'a').close()
    made(tmp_path / 'b', 'other').close()
    code, _, err = call(capsys, 'merge', tmp_path / 'new', tmp_path / 'a', tmp_path / 'b')
    assert (code, "has model 'other'" in err) == (2, True)
    assert not (tmp_path / 'new').exists()
    assert call(capsys, 'merge', tmp_path / 'new', tmp_path / 'a')[1].endswith('6 entries now\n')


def test_an_import_that_is_refused_leaves_no_gallery(tmp_path, capsys):
    with made(tmp_path / 'a') as gallery:
        export(gallery, tmp_path / 'a.npz')
    with np.load(tmp_path / 'a.npz') as content:
        pieces = dict(content)
    pieces['vectors_0'] = pieces['vectors_0'][:-1]
    np.savez(tmp_path / 'bad.npz', **pieces)
    assert call(capsys, 'import', tmp_path / 'new', tmp_path / 'bad.npz')[0] == 2
    assert not (tmp_path / 'new').exists()
    assert call(capsys, 'import', tmp_path / 'new', tmp_path / 'a.npz')[0] == 0


def test_a_threshold_goes_with_an_export_into_a_gallery_of_its_own(tmp_path, capsys):
    found = dict(threshold=0.25, fpir=0.05)
    with made(tmp_path / 'a') as gallery:
        gallery.set_made_with(dict(model='small'))
        gallery.set_calibration(found)
        export(gallery, tmp_path / 'a.npz')
    code, out, _ = call(capsys, 'import', tmp_path / 'new', tmp_path / 'a.npz')
    assert (code, 'threshold 0.2500 as it was exported' in out) == (0, True)
    with Gallery(tmp_path / 'new') as gallery:
        assert (gallery.calibration, gallery.made_with) == (found, dict(model='small'))
    with Gallery.create(tmp_path / 'other', DIM, 'm', dict(size=112)) as gallery:
        gallery.add(*people(5, seed=5))
    code, _, err = call(capsys, 'import', tmp_path / 'other', tmp_path / 'a.npz')
    assert (code, 'is of its entries alone, and not taken over' in err) == (0, True)
    with Gallery(tmp_path / 'other') as gallery:
        assert gallery.calibration is None
    with Gallery.create(tmp_path / 'same', DIM, 'm', dict(size=112)) as gallery:  # as many, but others
        with Gallery(tmp_path / 'a') as exported:
            first = exported.get(1)
        stranger = people(1, seed=5)
        gallery.add(*(column[:1] for column in stranger))
        gallery.add(stranger[0][1:], [first.identity], [first.file], [first.sha256])
        gallery.not_this_person([2])
    assert call(capsys, 'import', tmp_path / 'same', tmp_path / 'a.npz')[0] == 0
    with Gallery(tmp_path / 'a') as exported, Gallery(tmp_path / 'same') as gallery:
        assert (len(gallery), gallery.calibration) == (len(exported), None)

    with np.load(tmp_path / 'a.npz') as content:
        pieces = dict(content)
    about = json.loads(pieces['about'].tobytes())
    for damaged in (dict(threshold='high'), dict(fpir=0.1), 5):
        pieces['about'] = np.frombuffer(json.dumps({**about, 'calibration': damaged}).encode(), np.uint8)
        np.savez(tmp_path / 'bad.npz', **pieces)
        code, _, err = call(capsys, 'import', tmp_path / 'bad', tmp_path / 'bad.npz')
        assert (code, 'bad.npz: not a readable export' in err) == (2, True), err
        assert not (tmp_path / 'bad').exists()


def test_a_face_under_two_names_is_told_where_galleries_are_put_together(tmp_path, capsys):
    made(tmp_path / 'a').close()
    with made(tmp_path / 'b') as gallery:
        first = gallery.get(1)
        gallery.rename(first.identity, 'Eve')
        export(gallery, tmp_path / 'b.npz')
    for verb, source in (('merge', tmp_path / 'b'), ('import', tmp_path / 'b.npz')):
        code, _, err = call(capsys, verb, tmp_path / 'a', source)
        assert code == 0
        assert err.count('known under another name') == 2
        assert f'{first.file} of Eve is {first.file}, entry 1 of {first.identity}' in err
    with Gallery(tmp_path / 'a') as gallery:
        gallery.not_this_person([1], 'Eve')
        gallery.not_this_person([1], first.identity)  # so 'Eve' is wrong, and no question any more
    assert call(capsys, 'merge', tmp_path / 'a', tmp_path / 'b')[2].count('known under another name') == 1


def test_metadata_keeps_its_type_and_can_be_compared(tmp_path, capsys):
    years = [dict(year=year) for year in (1999, 2001, '2001', 2005, None)]
    made(tmp_path / 'g', metadata=[*years, {}]).close()

    def ids(*where):
        code, out, _ = call(capsys, 'list', tmp_path / 'g', '--where', *where)
        assert code == 0
        return [json.loads(line)['id'] for line in out.splitlines()]

    assert ids('year=2001') == [2, 3]
    assert ids('year!=2001') == [1, 4, 5]
    assert ids('year>=2001') == [2, 4]
    assert ids('year>1999', 'year<2005') == [2]
    assert ids('year=null') == [5]
    assert call(capsys, 'update', tmp_path / 'g', 6, '--set', 'year=2002', 'ok=true', 'code=007')[0] == 0
    assert json.loads(call(capsys, 'get', tmp_path / 'g', 6)[1])['metadata'] == dict(
        year=2002, ok=True, code='007'
    )
    assert read_metadata(['a=1e999', 'b=.5', 'c=']) == dict(a='1e999', b='.5', c='')
    for wrong in ('year', '=3', '>=3'):
        with pytest.raises(InputError, match='key=value'):
            read_conditions([wrong])


def test_the_former_name_of_non_mated_is_in_the_table(tmp_path, capsys):
    made(tmp_path / 'g').close()
    np.savez(tmp_path / 's.npz', files=['a', 'b'], embeddings=np.eye(DIM)[:2])
    code, out, err = call(
        capsys, 'calibrate', tmp_path / 'g', '--fpir', '.5', '--strangers', tmp_path / 's.npz'
    )
    assert (code, 'from 2 non-mated probes' in out, '--non-mated' in err) == (0, True, True)


@pytest.mark.parametrize('error', [NoSpaceError('the disk is full'), OSError(errno.ENOSPC, 'full')])
def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    with made(tmp_path / 'g') as gallery:
        monkeypatch.setattr(Gallery, 'copy_database', fail)
        with pytest.raises(NoSpaceError):
            maintenance.backup(gallery, tmp_path / 'copy')
        monkeypatch.setattr('mbv1_backbone.retrieval.export._put', fail)
        with pytest.raises(NoSpaceError):
            export(gallery, tmp_path / 'g.npz')
    monkeypatch.setattr('mbv1_backbone.retrieval.opening.Store.create', fail)
    with pytest.raises(NoSpaceError):
        Gallery.create(tmp_path / 'h', DIM, 'm')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['g']


def test_verbs_that_only_read_write_nothing_where_they_are_told_so(tmp_path, capsys):
    folder = tmp_path / 'a'
    made(folder, metadata=[{'n': i} for i in range(6)]).close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    folder_time = folder.stat().st_mtime_ns
    for verb, said in (
        (['list', folder, '--where', 'n>=4'], '"n": 5'),
        (['get', folder, 3], '"id": 3'),
        (['stats', folder], '"entries": 6'),
        (['verify', folder], '6 entries and 6 vectors'),
        (['export', folder, '--out', tmp_path / 'a.npz'], '6 entries'),
    ):
        code, out, err = call(capsys, *verb, '--read-only')
        assert (code, said in out) == (0, True), (verb, out, err)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert folder.stat().st_mtime_ns == folder_time


def test_a_recall_is_tuned_for_where_nothing_may_be_written(tmp_path):
    with Gallery.create(tmp_path / 'a', DIM, 'm', factory='IVF8,Flat') as gallery:
        gallery.add(*people(200))
    with Gallery(tmp_path / 'a', read_only=True) as gallery:
        assert tune(gallery, 0.9)['nprobe'] >= 1
        assert gallery.tuning is None


PARTLY = [{'year': year, 'team': 'red'} for year in range(2000, 2006)]


@pytest.mark.parametrize(
    ('asked', 'complaint'),
    [
        (('--identity', 'nobody'), "no entry of 'nobody'"),
        (('--identity', 'Person_0-1'), "did you mean 'person 0-1' by 'Person_0-1'?"),
        (('--where', 'yaer=2001'), "no entry has metadata of the key 'yaer'"),
        (('--where', 'year==2001'), 'metadata is given as key=value'),
        (('--where', 'year<>2001'), 'metadata is given as key=value'),
        (('--where', 'year=>2001'), 'metadata is given as key=value'),
        (('--where', ' =2001'), 'metadata is given as key=value'),
        (('--where', 'year>1,5'), "'year' is nowhere text, so nothing is > '1,5'"),
        (('--where', 'team>5'), "'team' is nowhere a number, so nothing is > 5"),
        (('--where', 'team in red,,blue'), 'a value is missing between commas'),
        (('--where', 'team in [red]'), 'no JSON list'),
        (('--where', 'yaer missing'), "no entry has metadata of the key 'yaer'"),
        (('--where', 'team exist'), 'metadata is given as key=value'),
        (('--where', 'team=red', 'yaer'), 'unrecognized arguments: yaer'),
        (('--file', 'none.jpg'), "no entry of 'none.jpg'"),
    ],
    ids=str,
)
def test_what_is_mistyped_is_refused_and_finds_not_nothing(asked, complaint, tmp_path, capsys):
    made(tmp_path / 'g', metadata=PARTLY).close()
    code, out, err = call(capsys, 'list', tmp_path / 'g', *asked)
    assert (code, out, complaint in err) == (2, '', True), err


@pytest.mark.parametrize(
    ('where', 'numbers'),
    [
        (('team in red,blue',), [1, 2, 5]),
        (('team in red, blue',), [1, 2, 5]),
        (('team', 'in', 'red,blue'), [1, 2, 5]),
        (('team in ["a, b", "blue"]',), [2, 6]),
        (('year in 2001,2003',), [1, 2, 3]),
        (('year in [2001]',), [1]),
        (('year exists',), [1, 2, 3, 4]),
        (('year', 'missing'), [5, 6]),
        (('year missing', 'team=red'), [5]),
        (('year exists', '--where', 'team', 'in', 'red,blue', 'year<2002'), [1]),
        (('place in town=old',), [4]),
    ],
    ids=str,
)
def test_a_list_and_whether_a_key_is_there_can_be_asked_for(where, numbers, tmp_path, capsys):
    metadata = [
        *({'year': 2001, 'team': 'red'}, {'year': '2001', 'team': 'blue'}, {'year': 2003}),
        *({'year': None, 'place in town': 'old'}, {'team': 'red'}, {'team': 'a, b'}),
    ]
    made(tmp_path / 'g', metadata=metadata).close()
    code, out, err = call(capsys, 'list', tmp_path / 'g', '--where', *where)
    assert (code, [json.loads(line)['id'] for line in out.splitlines()]) == (0, numbers), err


def test_conditions_leave_the_paths_behind_them_to_the_verb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'year=2001').mkdir()
    for words in (
        ['--where', 'team=red', 'year>=2000', 'a.jpg', 'year=2001'],
        ['--where', 'team=red', '--where', 'year>=2000', 'a.jpg', 'year=2001'],
    ):
        args = build_parser().parse_args(['gallery', 'search', '--model', 'm', 'g', *words])
        assert args.where == ['team=red', 'year>=2000']
        assert args.images == ['a.jpg', 'year=2001']
    args = build_parser().parse_args(['gallery', 'update', '--set', 'a=1', 'b=2', 'g', '5'])
    assert (args.gallery, args.id, args.set) == ('g', 5, ['a=1', 'b=2'])


def test_a_list_of_nothing_says_so(tmp_path, capsys):
    made(tmp_path / 'g', metadata=PARTLY).close()
    code, out, err = call(capsys, 'list', tmp_path / 'g', '--where', 'year>2050')
    assert (code, out, 'no entry fits' in err) == (0, '', True)


def test_spaces_around_an_operator_are_none_of_the_key(tmp_path, capsys):
    made(tmp_path / 'g', metadata=PARTLY).close()
    assert call(capsys, 'update', tmp_path / 'g', '1', '--set', ' seen = 3 ')[0] == 0
    for asked in ('year >= 2004', ' team = red ', 'seen = 3'):
        tight = asked.replace(' ', '')
        found = [call(capsys, 'list', tmp_path / 'g', '--where', one)[1] for one in (asked, tight)]
        assert found[0] == found[1] != ''


def test_names_are_found_and_given_as_they_are_enrolled(tmp_path, capsys):
    """Macs hand over names in Unicode's decomposed form."""
    with Gallery.create(tmp_path / 'g', DIM, 'm') as gallery:
        vectors, _, files, hashes = people(1, images=2)
        gallery.add(vectors, ['Zo\u00eb', 'Jose\u0301'], files, hashes)  # the latter by hand, as it is
    for name in ('Zoe\u0308', ' Zo\u00eb', 'Zo\u00eb', 'Jose\u0301'):
        assert len(call(capsys, 'list', tmp_path / 'g', '--identity', name)[1].splitlines()) == 1
    assert call(capsys, 'rename', tmp_path / 'g', 'Jose\u0301', 'Jose\u0301 ')[0] == 0
    assert call(capsys, 'remove', tmp_path / 'g', '--identity', 'Zoe\u0308')[1] == '1 removed, 1 left\n'
    with Gallery(tmp_path / 'g') as gallery:
        assert list(gallery.identities()) == ['Jos\u00e9']


@pytest.mark.parametrize('threshold', ['nan', '5', 'x'])
def test_a_threshold_is_looked_at_before_the_work(threshold, capsys):
    code, _, err = call(capsys, 'search', 'g', 'a.jpg', '--model', 'm', '--threshold', threshold)
    assert (code, 'argument --threshold: ' in err) == (2, True)


def test_a_threshold_is_not_passed_over_in_silence(capsys):
    code, _, err = call(capsys, 'search', 'g', 'a.jpg', '--model', 'm', '--threshold', '.5', '--all')
    assert (code, 'not allowed with argument --threshold' in err) == (2, True)


def test_a_name_of_several_lines_stays_in_its_own():
    match = Match(1, 'evil\n  2. Ceo  score 0.999', 'a\x1b[31m.jpg', 0.5, 1.0)
    for answer in (Answer('p\n.jpg', (match,), match), Answer('p\n.jpg', (), match)):
        assert all(line.isprintable() for line in _lines(answer))
