"""A gallery too large for memory is filled block by block, goes on where it was stopped, and is used."""

import numpy as np
import pytest

from benchmarks import engines, scale
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery

BLOCK = 2000


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(engines, '_SECONDS', 0.02)
    monkeypatch.setattr(scale, 'BLOCK', BLOCK)
    monkeypatch.setattr(scale, '_PROBES', 150)
    monkeypatch.setattr(scale, '_CHANGES', 3)
    monkeypatch.setattr(scale, 'apart', lambda stage, *arguments: stage(*arguments))


def test_the_nearest_are_those_of_all_blocks():
    blocks = list(scale._blocks(3 * BLOCK))
    probes = np.concatenate([block.probes for block in blocks])
    assert len(probes) == 150
    scores = probes @ np.concatenate([block.vectors for block in blocks]).T
    np.testing.assert_array_equal(scale._nearest(probes, 3 * BLOCK), np.argsort(-scores, 1)[:, :10])


def test_a_gallery_is_filled_used_and_kept(tmp_path):
    told = []
    found = scale.measure_scale(2 * BLOCK, tmp_path / 'g', 1, notice=told.append)
    assert (found['entries'], found['build']['added']) == (2 * BLOCK, 2 * BLOCK)
    assert found['index_kind'].startswith('IVF')
    assert found['search']['recall'] > 0.9
    assert [line.partition(':')[0] for line in told] == ['build', 'open', 'search', 'change']
    assert all(taken > 0 for taken in found['change'].values())
    with Gallery(tmp_path / 'g') as gallery:
        assert len(gallery) == 2 * BLOCK  # what was added to be timed is gone
        assert len(gallery.identities()) == 2 * BLOCK // 20
    more = scale.measure_scale(3 * BLOCK, tmp_path / 'g', 1, notice=told.append)
    assert more['build']['added'] == BLOCK
    assert more['search']['recall'] > 0.9


def test_what_is_there_is_not_mixed_with_another_run(tmp_path):
    with pytest.raises(InputError, match=r'--entries 3000: must be a multiple of 2000'):
        scale.measure_scale(3000, tmp_path / 'g', 1)
    assert not (tmp_path / 'g').exists()
    with Gallery.create(tmp_path / 'g', 128, 'm') as gallery:
        gallery.add(np.eye(128)[:1], ['a'], ['a.jpg'], ['0' * 64])
    with pytest.raises(InputError, match=r'g: holds 1 entries, not blocks of 2000'):
        scale.measure_scale(BLOCK, tmp_path / 'g', 1)
