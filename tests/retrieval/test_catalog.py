"""Names behind ids."""

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.catalog import Catalog


def test_a_catalog_gives_back_what_was_put_in_also_from_its_bytes():
    rows = [(3, 'Ærø', 'a/1.jpg'), (7, '李四', 'b'), (8, 'x' * 4096, '👩🏽‍🚀.png')]
    catalog = Catalog()
    catalog.add(rows[:1])
    catalog.add(rows[1:])
    removed = np.array([False, True, False])
    read, gone = Catalog.from_bytes(catalog.to_bytes(removed))
    assert gone.tolist() == removed.tolist()
    for some in (catalog, read):
        assert [(i, *some[i]) for i, *_ in rows] == rows
        assert (len(some), 7 in some, 4 in some, 9 in some) == (3, True, False, False)
        for missing in (0, 4, 9):
            with pytest.raises(InputError, match=f'holds entry {missing}, which is not there'):
                some[missing]


def test_an_empty_catalog_is_one():
    catalog, _ = Catalog.from_bytes(Catalog().to_bytes(np.zeros(0, bool)))
    assert len(catalog) == 0
    catalog.add([(1, 'a', 'b')])
    assert catalog[1] == ('a', 'b')
