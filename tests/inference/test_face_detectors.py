"""Faces of photographs found by the zoo's detector: what is aligned, what is a crop, and what is said."""

import pickle
from argparse import Namespace

import numpy as np
import pytest
from support.face_detector import provide_retinaface

from mbv1_backbone.cli.gallery.embedders import open_embedder
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.content import content_name
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.inference import cache as exports
from mbv1_backbone.inference.face_detectors import AUTO, NamedDetector, named_finder
from mbv1_backbone.inference.loading import load

FACES = 'facenet_mbv1_0.25-112_color'


@pytest.fixture
def at_hand(monkeypatch, tmp_path, shared):
    provide_retinaface(monkeypatch, tmp_path, shared)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv('MBV1_MIRROR', str(tmp_path / 'nothing'))
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def people(shared):
    """Whole photographs of LFW, and the same as crops."""
    whole = sorted((shared / 'lfw_color' / 'whole').rglob('*.jpg'))[:8]
    crops = [shared / 'lfw_color' / 'images' / path.parent.name / path.name for path in whole]
    return [read_image(path) for path in whole], [read_image(path) for path in crops]


def test_photographs_are_aligned_and_crops_are_taken_as_they_are(at_hand, people):
    whole, crops = people
    nothing = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    images = [*whole, *crops, nothing, nothing[:200, :200]]
    embedder = load(FACES, kind='embedder', backend='torch', precision='fp32')
    found = embedder.embed(images)
    assert found.failures == {16: 'no face found'}
    plain = load(FACES, kind='embedder', backend='torch', precision='fp32', finder=None).embed(crops)
    np.testing.assert_allclose(found.vectors[8:16], plain.vectors, atol=1e-5)
    assert all(place.box is None and place.score > 0.9 for place in found.places[8:16])
    assert all(place.box is not None and len(place.landmarks) == 5 for place in found.places[:8])
    assert (found.vectors[:8] * plain.vectors).sum(1).mean() > 0.8  # the same faces
    assert embedder.crops_note() == (
        '9 of 17 images are face crops and were taken as they are: a face fills them; in 1 of them, of at '
        'most 256 pixels, none is found'
    )
    assert embedder.uncropped_note() == ''
    assert embedder.preprocessing['face'] == f'auto: {AUTO}'
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_allclose(again.embed(whole[:1]).vectors, found.vectors[:1], atol=1e-5)


def found(*boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return lambda image: Faces(boxes, np.ones(len(boxes), np.float32))


@pytest.mark.parametrize(
    ('size', 'boxes', 'policy', 'crop'),
    [
        ((200, 200), [(40, 40, 151, 151)], 'largest', True),
        ((200, 200), [(50, 50, 150, 150)], 'largest', False),  # fills .5
        ((200, 270), [(40, 40, 151, 151)], 'largest', False),  # no crop's shape
        ((700, 700), [(100, 100, 600, 600)], 'largest', False),  # larger than crops are
        ((200, 200), [(40, 40, 151, 151), (0, 0, 30, 30)], 'largest', True),
        ((200, 200), [(40, 40, 151, 151), (0, 0, 30, 30)], 'all', False),
        ((200, 200), [], 'largest', True),
        ((256, 300), [], 'all', True),
        ((257, 257), [], 'largest', None),  # no face
        ((19, 19), [], 'largest', None),  # smaller than a face may be
        ((200, 200), [(0, 0, 15, 15)], 'largest', None),  # only a small one
    ],
)
def test_what_a_crop_is(size, boxes, policy, crop):
    finder = FaceFinder(found(*boxes), policy, crops=True)
    image = np.zeros((*size, 3), np.uint8)
    if crop is None:
        with pytest.raises(InputError, match='no face found'):
            finder.find(image, 64)
        return
    places = [place for _, place in finder.find(image, 64)]
    assert [place.box is None for place in places] == [crop] * len(places)
    assert not crop or places[0].score == (1.0 if boxes else None)
    assert not boxes or FaceFinder(found(*boxes), policy).find(image, 64)[0][1].box is not None


def test_a_detector_that_cannot_be_had_is_one_line(offline, people, tmp_path, capsys):
    embedder = load(FACES, kind='embedder')
    with pytest.raises(InputError, match=rf'{AUTO} cannot be had: .*the face detector none .*finder=None'):
        embedder.embed(people[1])
    folder = tmp_path / 'people' / 'ada'
    folder.mkdir(parents=True)
    (folder / 'a.jpg').write_bytes(b'')
    code = main(['gallery', 'build', str(tmp_path / 'g'), str(folder.parent), '--model', FACES])
    said = capsys.readouterr()
    assert (code, said.err.count('\n')) == (2, 1)
    assert 'the face detector none' in said.err
    assert not (tmp_path / 'g').exists()


def test_a_package_that_is_missing_is_named(monkeypatch):
    def without_mmdet(self):
        raise ModuleNotFoundError("No module named 'mmdet'", name='mmdet')

    monkeypatch.setattr(NamedDetector, '_load', without_mmdet)
    reason = r"needs mmdet: pip install 'mbv1-backbone\[detection\]'; the face detector none"
    with pytest.raises(NotInstalledError, match=reason):
        named_finder('auto').open()


@pytest.mark.parametrize('option', ['--detector', '--face-detector'])
def test_a_detector_that_is_gone_is_asked_for_by_the_verbs_own_option(tmp_path, option):
    there = Namespace(
        place='g',
        model_identity={'preprocessing': {'face': content_name('faces.onnx', '0' * 64)}},
        made_with={'detector file': str(tmp_path / 'faces.onnx')},
    )
    more = {} if option == '--detector' else {'detector_option': option}
    args = Namespace(detector='auto', policy='all', **more)
    with pytest.raises(InputError, match=f'is not there any more: give that file by {option} FILE'):
        open_embedder(args, there)


def test_a_search_asks_as_its_gallery_was_made(offline, tmp_path, shared, capsys):
    people = shared / 'lfw_color' / 'images'
    folder = next(path for path in sorted(people.iterdir()) if len(list(path.iterdir())) > 1)
    listed = tmp_path / 'list.csv'
    listed.write_text(
        ''.join(['file,identity\n', *(f'{p.relative_to(people)},Ada\n' for p in folder.iterdir())])
    )
    gallery = str(tmp_path / 'g')
    model = ['--model', FACES]
    build = ['gallery', 'build', gallery, str(listed), '--root', str(people), *model, '--detector', 'none']
    assert main(build) == 0
    capsys.readouterr()
    assert main(['gallery', 'search', gallery, str(next(folder.iterdir())), *model]) == 0
    said = capsys.readouterr()
    assert 'made with --detector none: images are taken as they are' in said.err
    assert '1. Ada  score 1.000' in said.out


def test_names_and_files(at_hand, tmp_path, people):
    assert named_finder(None) is named_finder('none') is None
    whole = people[0][0]
    with pytest.raises(InputError, match=r'none\.onnx: No such file'):
        named_finder(tmp_path / 'none.onnx')
    with pytest.raises(InputError, match='nonesuch: no such file, and no such model in the zoo'):
        named_finder('nonesuch')
    with pytest.raises(InputError, match="has no class 'face'"):
        named_finder('ssd_mbv1_0.75_tf_bccd')
    by_name = named_finder(AUTO)
    assert not by_name.crops
    [(_, place)] = by_name.find(whole, 64)
    exported = tmp_path / 'detector.onnx'
    load(AUTO, kind='detector', precision='fp32')
    kept = exports.find(exports.export_key(AUTO))
    exported.write_bytes(kept.read_bytes())
    [(_, same)] = named_finder(exported).find(whole, 64)
    np.testing.assert_allclose(same.box, place.box, atol=1e-3)
    np.testing.assert_allclose(same.landmarks, place.landmarks, atol=1e-3)


def test_released_weights_in_a_file_are_a_detector(offline, shared, people):
    weights = shared / 'weights' / 'retinaface_mobilenet0.25.safetensors'
    finder = named_finder(weights)
    [(_, place)] = finder.find(people[0][0], 64)
    assert (len(place.landmarks), place.score > 0.9) == (5, True)
    assert finder.identity.startswith(f'{weights.name} sha256:')
    assert finder.alignment == 'upright by five landmarks'
    with pytest.raises(
        InputError, match=r'leaky\.safetensors: no RetinaFace .*: mbv1 export CONFIG .* --to onnx'
    ):
        named_finder(shared / 'weights' / 'mobilenet_v1_0.25_imagenet_leaky.safetensors')


def test_a_photograph_may_lie_on_its_side_or_stand_on_its_head(at_hand, people):
    finder = named_finder('auto')
    for upright in people[0][:2]:
        [(wanted, place)] = finder.find(upright, 112)
        for turns in (1, 2, 3):
            [(face, found)] = finder.find(np.ascontiguousarray(np.rot90(upright, turns)), 112)
            assert np.abs(face.astype(int) - wanted).mean() < 8
            assert found.quality.value == pytest.approx(place.quality.value, abs=0.1)
