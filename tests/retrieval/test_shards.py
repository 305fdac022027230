"""Several galleries that answer as one, against one that holds all."""

import numpy as np
import pytest
from support.crowd import DIM, people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import Gallery, Shards
from mbv1_backbone.retrieval.maintenance import merge


def made(folder, seed, model='m'):
    gallery = Gallery.create(folder, DIM, model)
    gallery.add(*people(20, seed))
    return gallery


def test_four_shards_answer_as_the_gallery_they_merge_into(tmp_path):
    parts = [made(tmp_path / str(seed), seed) for seed in range(4)]
    whole = Gallery.create(tmp_path / 'whole', DIM, 'm')
    merge(whole, parts)
    probes = np.random.default_rng(5).normal(size=(6, DIM))
    with Shards(parts) as shards:
        assert len(shards) == len(whole) == 160
        for k, threshold in ((1, None), (10, None), (200, None), (10, 0.5)):
            found = shards.search(probes, k, threshold)
            expected = whole.search(probes, k, threshold)
            for mine, right in zip(found, expected, strict=True):
                assert [(m.identity, m.file) for m in mine] == [(m.identity, m.file) for m in right]
                np.testing.assert_allclose([m.score for m in mine], [m.score for m in right], atol=1e-6)
        [[first]] = shards.search(probes[:1], 1)
        assert parts[first.shard].get(first.id).file == first.file
        [some] = shards.search(probes[:1], 5, identity='person 2-3')
        assert {m.shard for m in some} == {2}


def test_shards_of_two_models_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"b has model 'other', gallery .*a has 'm'"):
        Shards([made(tmp_path / 'a', 0), made(tmp_path / 'b', 1, 'other')])
    with pytest.raises(InputError, match='at least one'):
        Shards([])


def test_a_part_s_threshold_is_not_taken_for_the_whole_s(tmp_path):
    with (
        Shards([made(tmp_path / 'a', 0)]) as shards,
        pytest.raises(InputError, match='threshold of the whole'),
    ):
        shards.search(np.ones((1, DIM)), threshold='calibrated')
