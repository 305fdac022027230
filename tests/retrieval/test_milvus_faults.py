"""A Milvus server that stops, starts anew, dies between batches, hangs, or is no gallery's."""

from __future__ import annotations

import base64
import itertools
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.crowd import DIM, people
from support.gallery_kinds import NEEDS_MILVUS, MilvusLite

from mbv1_backbone.common.errors import InputError, UnavailableError
from mbv1_backbone.common.outputs import check_output_folder
from mbv1_backbone.retrieval import Correction, Entry, Gallery, create_gallery, open_gallery
from mbv1_backbone.retrieval.copying import copy
from mbv1_backbone.retrieval.milvus import reading as reading_module, server as server_module

pytestmark = NEEDS_MILVUS
VECTORS, NAMES, FILES, HASHES = people(600, images=2)
PAIRS = [
    (Entry(0, name, file, sha256, 0.0), vector)
    for vector, name, file, sha256 in zip(VECTORS, NAMES, FILES, HASHES, strict=True)
]


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    started = MilvusLite(tmp_path_factory.mktemp('milvus') / 'data')
    yield started
    if started.running:
        started.kill()


_numbers = itertools.count()


@pytest.fixture
def place(server):
    if not server.running:
        server.start()
    return server.place(f'faults{next(_numbers)}')


def test_what_was_acknowledged_before_a_kill_between_batches_is_there_after_it(server, place):
    """1,200 entries go in 500 a request; the server dies after the second one."""

    def dying():
        for number, pair in enumerate(PAIRS):
            if number == 1100:
                server.kill()
            yield pair

    with create_gallery(place, DIM, 'm', timeout=2.0) as gallery:
        with pytest.raises(UnavailableError, match='1000 new entries were acknowledged before') as caught:
            gallery.add_entries(dying())
        assert '\n' not in str(caught.value)
        with pytest.raises(UnavailableError, match='does not answer within 2 seconds'):
            len(gallery)
    with pytest.raises(UnavailableError, match='does not answer'):
        open_gallery(place, timeout=0.5)
    server.start()
    with open_gallery(place) as gallery:
        assert {entry.file for entry in gallery.entries()} == set(FILES[:1000])
        again = gallery.add_entries(PAIRS)
        assert (again.new, len(gallery)) == (200, 1200)
        found = gallery.search(VECTORS[::100], k=1)
        assert [matches[0].file for matches in found] == FILES[::100]


def test_a_server_that_is_started_anew_in_time_is_waited_for(server, place):
    with create_gallery(place, DIM, 'm', timeout=30.0) as gallery:
        gallery.add(VECTORS[:3], NAMES[:3], FILES[:3], HASHES[:3])
        gallery.set_calibration({'threshold': 0.25})
        server.kill()
        later = threading.Timer(0.5, server.start)
        later.start()
        assert gallery.add(VECTORS[3:5], NAMES[3:5], FILES[3:5], HASHES[3:5]).new == 2
        later.join()
        assert (len(gallery), gallery.calibration) == (5, {'threshold': 0.25})
        assert [m.file for m in gallery.search(VECTORS[4:5], k=1)[0]] == FILES[4:5]


def test_a_copy_whose_server_dies_goes_on_where_it_was(server, place, tmp_path):
    with create_gallery(tmp_path / 'g', DIM, 'm') as one:
        one.add_entries(PAIRS[:600])
        with create_gallery(place, DIM, 'm', timeout=1.0) as other:
            steps = []

            def dying(count):
                steps.append(count)
                server.kill()

            with pytest.raises(UnavailableError, match='does not answer'):
                copy(one, other, progress=dying)
            assert steps == [500]
        server.start()
        with open_gallery(place) as other:
            assert copy(one, other) == (600, 100)
            assert [e.file for e in sorted(other.entries(), key=lambda e: FILES.index(e.file))] == FILES[:600]


def test_a_server_that_hangs_is_not_waited_for_longer_than_the_timeout(server, place):
    with create_gallery(place, DIM, 'm', timeout=1.0) as gallery:
        server.signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            with pytest.raises(UnavailableError, match='within 1 seconds'):
                gallery.add(VECTORS[:1], NAMES[:1], FILES[:1], HASHES[:1])
            assert time.monotonic() - begin < 10
            with pytest.raises(UnavailableError, match=r'within 0\.5 seconds'):
                open_gallery(place, timeout=0.5)
        finally:
            server.signal(signal.SIGCONT)
        assert gallery.add(VECTORS[:1], NAMES[:1], FILES[:1], HASHES[:1]).ids is not None
        assert len(gallery) == 1


def test_a_rename_that_was_cut_short_says_how_to_end_it(server, place, monkeypatch):
    vectors = np.repeat(VECTORS[:1], 600, axis=0) + 0.1 * VECTORS[:600]
    with create_gallery(place, DIM, 'm', timeout=1.0) as gallery:
        gallery.add(vectors, ['Ada'] * 600, FILES[:600], HASHES[:600])
        ask, upserts = gallery._server.ask, []

        def dying(method, *args, **values):
            if method == 'upsert':
                upserts.append(method)
                if len(upserts) == 2:
                    server.kill()
            return ask(method, *args, **values)

        monkeypatch.setattr(gallery._server, 'ask', dying)
        with pytest.raises(UnavailableError, match="500 of 600 entries have the name 'Bo' already"):
            gallery.rename('Ada', 'Bo')
    server.start()
    with open_gallery(place) as gallery:
        assert gallery.identities() == {'Ada': 100, 'Bo': 500}
        gallery.merge_identities(['Ada'], 'Bo')
        assert gallery.identities() == {'Bo': 600}


def test_two_faces_of_one_digest_get_two_ids(place, monkeypatch):
    from mbv1_backbone.retrieval.milvus import writing as module

    monkeypatch.setattr(module, 'key_of', lambda sha256, box, salt: 7 + salt)
    with create_gallery(place, DIM, 'm') as gallery:
        assert gallery.add(VECTORS[:2], NAMES[:2], FILES[:2], HASHES[:2]).ids == (7, 8)
        again = gallery.add(VECTORS[:3], NAMES[:3], FILES[:3], HASHES[:3])
        assert again.ids == (None, None, 9)
        assert [entry.file for entry in gallery.entries()] == FILES[:3]


@pytest.mark.parametrize('step', ['create_index', 'load_collection'])
def test_a_gallery_that_cannot_be_made_is_not_there(place, monkeypatch, step):
    again = server_module.Server._again

    def failing(self, work, patience=None):
        from pymilvus import MilvusClient

        def refused(*_, **__):
            raise InputError('no room')

        with monkeypatch.context() as patch:
            patch.setattr(MilvusClient, step, refused)
            return again(self, work, patience)

    with monkeypatch.context() as patch:
        patch.setattr(server_module.Server, '_again', failing)
        with pytest.raises(InputError, match='no room'):
            create_gallery(place, DIM, 'm')
    with pytest.raises(InputError, match='no collection of that name'):
        open_gallery(place)
    create_gallery(place, DIM, 'm').close()


@pytest.mark.parametrize('count', [0, 1, 6, 7, 8, 14, 30])
def test_rows_are_read_page_by_page_to_the_last(place, monkeypatch, count):
    monkeypatch.setattr(server_module, '_PAGE', 7)
    monkeypatch.setattr(server_module, '_NARROW_PAGE', 7)
    with create_gallery(place, DIM, 'm') as gallery:
        ids = gallery.add(VECTORS[:count], NAMES[:count], FILES[:count], HASHES[:count]).ids
        assert gallery.ids().tolist() == sorted(ids)
        assert [entry.id for entry in gallery.entries()] == sorted(ids)
        assert sum(gallery.identities().values()) == count


def test_what_a_server_refuses_is_one_line(place):
    with create_gallery(place, DIM, 'm') as gallery:
        for expression in ('no (expression', 'nonesuch == 1'):
            with pytest.raises(InputError, match=f'{place}: the server refuses: .') as caught:
                gallery._server.count(expression)
            assert '\n' not in str(caught.value)


def test_two_writers_of_the_same_faces_leave_each_once(place, monkeypatch):
    """The second one has looked before the first one wrote."""
    with create_gallery(place, DIM, 'm') as one, open_gallery(place) as other:
        monkeypatch.setattr(other._server, 'some', lambda ids, fields: [])
        ids = one.add(VECTORS[:5], NAMES[:5], FILES[:5], HASHES[:5]).ids
        assert other.add(VECTORS[:7], ['else'] * 7, FILES[:7], HASHES[:7]).ids[:5] == ids
        assert sorted(entry.file for entry in one.entries()) == sorted(FILES[:7])
        assert len(one) == 7


@pytest.mark.parametrize('index', ['FLAT', 'HNSW'])
def test_an_index_is_chosen_by_its_name(place, index):
    with create_gallery(place, DIM, 'm', index=index) as gallery:
        gallery.add(VECTORS[:300], NAMES[:300], FILES[:300], HASHES[:300])
        assert gallery.stats()['factory'] == index
        assert [m[0].file for m in gallery.search(VECTORS[:300:50], k=200)] == FILES[:300:50]


def test_a_collection_of_somebody_else_is_refused(server, place):
    from pymilvus import MilvusClient

    client = MilvusClient(f'http://127.0.0.1:{server.port}')
    client.create_collection(place.rpartition('/')[2], dimension=DIM)
    client.close()
    with pytest.raises(InputError, match=f'{place}: not a gallery of this version'):
        open_gallery(place)
    with pytest.raises(InputError, match='there is a collection of that name already'):
        create_gallery(place, DIM, 'm')


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        ('milvus://127.0.0.1:1/people', 'does not answer within 0.3 seconds'),
        ('milvus://ada:secret@127.0.0.1:1/people', 'MBV1_MILVUS_TOKEN'),
        ('milvus://127.0.0.1:99999/people', 'Port out of range'),
        ('milvus://127.0.0.1:1/', 'letters, digits'),
        ('milvus://127.0.0.1:1/a b', 'letters, digits'),
        ('milvus:///people', 'milvus://HOST:PORT/NAME'),
        ('milvus://127.0.0.1:1/a/b/c', 'milvus://HOST:PORT/NAME'),
        ('milvus://127.0.0.1:1/people?token=ada:secret', 'milvus://HOST:PORT/NAME'),
        ('milvus://ada:secret/x@127.0.0.1:1/people', 'MBV1_MILVUS_TOKEN'),
        ('milvus://[::1/people', 'Invalid IPv6 URL'),
        ('MILVUS://127.0.0.1:1/people', 'in a folder, or at milvus://'),
        ('http://ada:secret@127.0.0.1:1/people', 'in a folder, or at milvus://'),
        (Path('milvus://127.0.0.1:1/people'), 'Milvus is text'),
    ],
)
def test_addresses_that_lead_nowhere(place, message, monkeypatch):
    monkeypatch.setenv('MBV1_MILVUS_TOKEN', 'root:hidden')
    with pytest.raises((InputError, UnavailableError), match=message) as caught:
        open_gallery(place, timeout=0.3)
    assert '\n' not in str(caught.value)
    assert 'hidden' not in str(caught.value)
    assert 'ada:secret' not in str(caught.value)


def test_addresses_are_never_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ('http://127.0.0.1:1/people', Path('milvus://h/people')):
        with pytest.raises(InputError):
            create_gallery(place, DIM, 'm')
    with pytest.raises(InputError, match='create_gallery'):
        Gallery.create('milvus://h/people', DIM, 'm')
    with pytest.raises(InputError, match='is an address'):
        check_output_folder('milvus://h/people')
    assert not list(tmp_path.iterdir())


def test_certificates_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv('MBV1_MILVUS_CA', str(tmp_path / 'none.pem'))
    with pytest.raises(InputError, match=r'MBV1_MILVUS_CA: .*none.pem: no such file'):
        open_gallery('milvus+https://127.0.0.1:1/people', timeout=0.3)


@pytest.mark.parametrize(
    ('answers', 'said'),
    [
        ([dict(code=101)], 7),
        ([dict(code=1, message='service not ready', retriable=True)], 7),
        ([dict(code=101), dict(code=9, message='disk is full')], 'refuses: disk is full'),
        ([dict(code=1, message='not\nready', retriable=True)] * 99, 'within 0.5 seconds, it says: not ready'),
    ],
)
def test_a_server_that_starts_is_asked_again(place, monkeypatch, answers, said):
    """Milvus says of itself that it is not ready yet; what loading the collection raises is one line, too."""
    from pymilvus import MilvusException

    with create_gallery(place, DIM, 'm', timeout=0.5) as gallery:
        faults = iter([MilvusException(**answer) for answer in answers])

        def answer(*_):
            if (fault := next(faults, None)) is not None:
                raise fault
            return 7

        monkeypatch.setattr(gallery._server, '_load', answer)
        if said == 7:
            assert gallery._server._again(answer) == 7
            return
        with pytest.raises((InputError, UnavailableError), match=said) as caught:
            gallery._server._again(answer)
        assert '\n' not in str(caught.value)


def test_a_connection_that_another_thread_has_closed_is_opened_anew(place):
    with create_gallery(place, DIM, 'm') as gallery:
        for read in (lambda: len(gallery), lambda: len(list(gallery.entries())), lambda: gallery.model):
            gallery._server._client.close()
            assert read() in (0, 'm')
    with pytest.raises(InputError, match='the gallery is closed'):
        len(gallery)


@pytest.mark.parametrize('by', ['best', 'mean'])
def test_a_person_who_is_removed_during_a_search_is_not_found(place, monkeypatch, by):
    with create_gallery(place, DIM, 'm') as gallery:
        gallery.add(VECTORS[:6], NAMES[:6], FILES[:6], HASHES[:6])
        images_of = gallery.images_of

        def removing(names):
            gallery.remove(identity=NAMES[0])
            return images_of(names)

        monkeypatch.setattr(gallery, 'images_of', removing)
        [found] = gallery.search_identities(VECTORS[:1], k=3, by=by)
        assert {person.identity for person in found} == set(NAMES[2:6])


def test_what_one_request_brings_is_bounded(place, monkeypatch):
    monkeypatch.setattr(reading_module, '_FOUND', 20)
    with create_gallery(place, DIM, 'm') as gallery:
        gallery.add(VECTORS[:30], NAMES[:30], FILES[:30], HASHES[:30])
        ask, sizes = gallery._server.ask, []

        def counted(method, *args, **values):
            sizes.extend([len(values['data'])] if method == 'search' else [])
            return ask(method, *args, **values)

        monkeypatch.setattr(gallery._server, 'ask', counted)
        found = gallery.search(VECTORS[:5], k=10)
        assert sizes == [2, 2, 1]
        assert [matches[0].file for matches in found] == FILES[:5]


def test_a_token_comes_from_the_environment_and_a_wrong_one_is_said_so(monkeypatch):
    """A server that takes one token; Milvus Lite takes all."""
    import grpc

    tokens = []

    class Gate(grpc.GenericRpcHandler):
        def service(self, details):
            tokens.append(dict(details.invocation_metadata).get('authorization'))
            denied = lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, 'auth check failure')  # noqa: E731
            return grpc.unary_unary_rpc_method_handler(denied)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Gate()])
    port = server.add_insecure_port('127.0.0.1:0')
    server.start()
    monkeypatch.setenv('MBV1_MILVUS_TOKEN', 'root:hidden')
    with pytest.raises(InputError, match=r'right token: put it into .* MBV1_MILVUS_TOKEN') as caught:
        open_gallery(f'milvus://127.0.0.1:{port}/people', timeout=3.0)
    server.stop(None)
    assert 'hidden' not in str(caught.value)
    assert set(tokens) == {base64.b64encode(b'root:hidden').decode()}


def test_what_milvus_cannot_keep_is_refused_by_name(place):
    with create_gallery(place, DIM, 'm') as gallery:
        one = (VECTORS[:1], NAMES[:1], FILES[:1], HASHES[:1])
        with pytest.raises(InputError, match='Milvus keeps up to 65535 bytes of metadata'):
            gallery.add(*one, metadata=[{'a': 'ä' * 40_000}])
        with pytest.raises(InputError, match='1365 keys'):
            gallery.add(*one, metadata=[dict.fromkeys(map(str, range(1400)), 1)])
        with pytest.raises(InputError, match='keeps no corrections'):
            gallery.add_entries([], [Correction(HASHES[0], None, 'Ada', False, 0.0)])
        with pytest.raises(InputError, match='16384 entries of a probe'):
            gallery.search(VECTORS[:1], k=20_000)
        assert len(gallery) == 0
    with pytest.raises(InputError, match='AUTOINDEX, FLAT, HNSW, DISKANN'):
        create_gallery(f'{place}b', DIM, 'm', index='IVF64,Flat')
    with pytest.raises(InputError, match='not a gallery, the server has no collection'):
        open_gallery(f'{place}b')


LOGGING = """
import logging, sys
from mbv1_backbone.retrieval.milvus import server

handler = logging.FileHandler(sys.argv[1])
server._library()
assert handler.stream is not None and not handler.stream.closed
"""


def test_the_log_files_of_a_program_stay_open(tmp_path):
    """Importing pymilvus configures logging anew, and closes all handlers that there are."""
    subprocess.run([sys.executable, '-c', LOGGING, str(tmp_path / 'run.log')], check=True)
