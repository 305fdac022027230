"""One image is one image, however it is given."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.people import draw_people

from mbv1_backbone import load
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.classifier import Classifier, FeatureExtractor
from mbv1_backbone.inference.inputs import as_images
from mbv1_backbone.inference.loading import load as load_from_its_room
from mbv1_backbone.runtime.spec import ModelSpec

FACES = 'facenet_mbv1_0.25-112_color'


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    return next(draw_people(tmp_path_factory.mktemp('people')).rglob('*.jpg'))


def some(*shape):
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    ('given', 'count'),
    [
        ('a.jpg', 1),
        (Path('a.jpg'), 1),
        (some(4, 5, 3), 1),
        (some(4, 5), 1),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), 1),
        (['a.jpg', 'b.jpg'], 2),
        (('a.jpg',), 1),
        ([some(4, 5, 3)] * 3, 3),
        (some(2, 4, 5, 3), 2),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), 2),
        (np.array(['a.jpg', 'b.jpg', 'c.jpg']), 3),
        (np.array([Path('a.jpg'), Path('b.jpg')], object), 2),
        (iter(['a.jpg', 'b.jpg']), 2),
        ([], 0),
    ],
)
def test_how_many_images(given, count):
    assert len(list(as_images(given))) == count


def test_a_single_path_has_one_embedding(photo):
    embedder = load(FACES, kind='embedder', finder=None)
    for given in (str(photo), photo):
        found = embedder.embed(given)
        assert found.vectors.shape == (1, 128)
        assert (found.sources.tolist(), found.failures) == ([0], {})
    np.testing.assert_array_equal(found.vectors, embedder.embed([photo]).vectors)
    missing = embedder.embed('a.jpg')
    assert list(missing.failures) == [0]
    assert 'a.jpg: No such file' in missing.failures[0]


def test_what_is_printed_of_embeddings_is_short(photo):
    text = str(load(FACES, kind='embedder', finder=None).embed(photo))
    assert text == 'Embedded(vectors: 1 x 128, images: 1)'
    missing = str(load(FACES, kind='embedder', finder=None).embed(['a.jpg', photo]))
    assert missing.startswith(
        'Embedded(vectors: 1 x 128, images: 2, failures: 1, the first: image a.jpg: No such'
    )


class Fake:
    """A network that gives the mean colour."""

    def __init__(self, kind):
        recipe = dict(mean=(0.0,) * 3)
        self.spec = ModelSpec(kind=kind, size=(8, 8), precision='fp32', fingerprint='', recipe=recipe)
        self.precision, self.parallel = 'fp32', 1

    def run(self, images, /):
        means = images.mean((1, 2)).astype(np.float32)
        return (
            (means,)
            if self.spec.kind == 'classifier'
            else (means[:, :, None, None], means[:, :1, None, None])
        )


def test_classifiers_and_backbones_take_one_image_or_none(photo):
    classifier, backbone = Classifier(Fake('classifier')), FeatureExtractor(Fake('backbone'))
    for given in (photo, str(photo), [photo]):
        assert classifier.classify(given).shape == (1, 3)
        assert [m.shape for m in backbone.features(given)] == [(1, 3, 1, 1), (1, 1, 1, 1)]
    assert classifier.classify([]).shape == (0, 3)
    assert [m.shape for m in backbone.features([])] == [(0, 3, 1, 1), (0, 1, 1, 1)]
    with pytest.raises(InputError, match=r'a\.jpg'):
        classifier.classify('a.jpg')
    with pytest.raises(InputError, match='not a classifier, but a backbone'):
        Classifier(Fake('backbone'))


def test_options_that_do_not_belong_together():
    with pytest.raises(InputError, match='finder is for an embedder, not for a detector'):
        load('x', kind='detector', finder=SimpleNamespace(find=lambda image: []))
    with pytest.raises(InputError, match=r"kind must be one of .*, got 'face'"):
        load('x', kind='face')


def test_the_former_place_of_load_warns():
    with pytest.warns(DeprecationWarning, match=r'load is mbv1_backbone\.load now'):
        from mbv1_backbone.deploy.loading import load as former
    assert former is load_from_its_room
    with pytest.warns(DeprecationWarning, match='import mbv1_backbone, which stands in'):
        from mbv1_backbone.mmcv_ops import nms
    assert callable(nms)
