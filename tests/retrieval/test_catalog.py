"""Names behind ids."""

import io
import sys

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.catalog import Catalog

ROWS = [(3, 'Ærø', 'a/1.jpg'), (7, '李四', 'b'), (8, 'x' * 4096, '👩🏽‍🚀.png')]


def kept(catalog, removed, path):
    with open(path, 'wb') as file:
        catalog.write(file.write, removed)
    return path


def read(path, mapped=False):
    with open(path, 'rb') as file:
        return Catalog.read(file, mapped)


@pytest.mark.parametrize('mapped', [False, True])
def test_a_catalog_gives_back_what_was_put_in_also_from_its_file(mapped, tmp_path):
    catalog = Catalog()
    catalog.add(ROWS[:1])
    catalog.add(ROWS[1:])
    removed = np.array([False, True, False])
    again, gone = read(kept(catalog, removed, tmp_path / 'c'), mapped)
    assert gone.tolist() == removed.tolist()
    for some in (catalog, again):
        assert [(i, *some[i]) for i, *_ in ROWS] == ROWS
        assert (len(some), 7 in some, 4 in some, 9 in some) == (3, True, False, False)
        for missing in (0, 4, 9):
            with pytest.raises(InputError, match=f'holds entry {missing}, which is not there'):
                some[missing]


def test_an_empty_catalog_is_one(tmp_path):
    catalog, _ = read(kept(Catalog(), np.zeros(0, bool), tmp_path / 'c'))
    assert len(catalog) == 0
    catalog.add([])
    catalog.add([(1, 'a', 'b')])
    assert catalog[1] == ('a', 'b')


@pytest.mark.skipif(sys.platform == 'win32', reason='no file is mapped there')
def test_a_mapped_catalog_grows_and_is_renamed_while_its_file_stays_as_it_is(tmp_path):
    catalog = Catalog()
    catalog.add((i, f'person {i // 20}', f'{i}.jpg') for i in range(0, 4000, 2))
    path = kept(catalog, np.zeros(2000, bool), tmp_path / 'c')
    before = path.read_bytes()
    view, _ = read(path, mapped=True)
    assert len(view._ids) > len(view)  # has room, so it is mapped
    assert view._ids.flags.aligned
    path.unlink()
    for first in (4000, 4100, 9000):  # the last one is more than there is room for
        more = [(i, f'new {i}', 'ø.jpg') for i in range(first, first + 1000, 10)]
        older, view = view, view.renamed({5: ('renamed', 'x')})
        view.add(more if first < 9000 else [(i, 'new', f'{i}') for i in range(first, first + 3000)])
        assert (older[12], view[10], view[12]) == (
            ('person 0', '12.jpg'),
            ('renamed', 'x'),
            ('person 0', '12.jpg'),
        )
    again, _ = read(kept(view, np.zeros(len(view), bool), tmp_path / 'd'))
    assert [again[i] for i in again.ids.tolist()] == [view[i] for i in again.ids.tolist()]
    kept(catalog, np.zeros(2000, bool), path)
    assert path.read_bytes() == before


def test_a_catalog_as_it_was_written_before_is_read(tmp_path):
    """By ``numpy.savez``, which aligns nothing."""
    text = b'adaa.jpgbobb.jpg'
    arrays = dict(
        ids=[1, 2], ends=[0, 3, 8, 11, 16], text=np.frombuffer(text, np.uint8), removed=np.uint8([128])
    )
    content = io.BytesIO()
    np.savez(content, **arrays)
    (tmp_path / 'c').write_bytes(content.getvalue())
    for mapped in (False, True):
        catalog, removed = read(tmp_path / 'c', mapped)
        assert [catalog[i] for i in (1, 2)] == [('ada', 'a.jpg'), ('bob', 'b.jpg')]
        assert removed.tolist() == [True, False]


def test_numpy_reads_a_catalog_and_its_arrays_are_aligned(tmp_path):
    catalog = Catalog()
    catalog.add(ROWS)
    path = kept(catalog, np.zeros(3, bool), tmp_path / 'c.npz')
    with np.load(path) as content:
        assert content['ids'].tolist() == [3, 7, 8]
        assert content['text'].tobytes().decode() == ''.join(a + b for _, a, b in ROWS)
    place = path.read_bytes().index(np.int64([3, 7, 8]).tobytes())
    assert place % 64 == 0


def test_changed_names_are_written_in_their_places(tmp_path):
    catalog = Catalog()
    catalog.add(ROWS)
    for names in ({0: ('', 'ö' * 300)}, {2: ('z', '')}, {2: ('y', 'b/2.jpg')}):
        catalog = catalog.renamed(names)
    again, _ = read(kept(catalog, np.zeros(3, bool), tmp_path / 'c'))
    assert [again[i] for i in (3, 7, 8)] == [('', 'ö' * 300), ('李四', 'b'), ('y', 'b/2.jpg')]
    again.add([(9, 'a', 'b')])
    assert [again[i] for i in (8, 9)] == [('y', 'b/2.jpg'), ('a', 'b')]
