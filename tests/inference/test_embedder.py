"""The embedder: files, arrays and tensors in, vectors and reasons out; one file says how it is built."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.embedders import build, published
from support.people import draw_people

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.training import load_weights
from mbv1_backbone.weights import write_weights
from mbv1_backbone.weights.store import Weights


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp('people'))


def files(people):
    return sorted((people / 'images').rglob('*.jpg'))


def test_files_arrays_and_tensors_give_the_same(embedder, people):
    paths = files(people)[:5]
    arrays = [np.array(Image.open(path)) for path in paths]
    tensors = [torch.from_numpy(array.transpose(2, 0, 1).copy()) for array in arrays]
    by_file = embedder.embed(paths, batch_size=2)
    assert by_file.vectors.shape == (5, 16)
    assert by_file.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(by_file.vectors, axis=1), 1, atol=1e-5)
    for other in (embedder.embed(arrays), embedder.embed(tensors, batch_size=5)):
        assert np.allclose(other.vectors, by_file.vectors, atol=1e-3)


def test_the_network_sees_what_it_says(embedder, model, people):
    path = files(people)[0]
    image = np.array(Image.open(path)).astype(np.float32)
    prepared = torch.from_numpy(((image - (120, 110, 100)) / 60).transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        wanted = model(prepared)[0].numpy()
    assert np.allclose(embedder.embed([path]).vectors[0], wanted, atol=1e-3)


def test_colours_are_made_gray_where_the_network_wants_it(people):
    model = build(gray=True)
    gray = FaceEmbedder.of_model(model, recipe_of(model, 'test'))
    colour = np.array(Image.open(files(people)[0]))
    colour[..., 0] = 255 - colour[..., 0]
    luma = np.round(colour.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    same = luma.astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.allclose(gray.embed([colour]).vectors, gray.embed([same]).vectors, atol=1e-3)


def test_one_bad_image_stops_nothing(embedder, people, tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    wrong = [tmp_path / 'text.jpg', np.zeros((4, 4), np.uint8), tmp_path / 'none.jpg']
    images = [wrong[0], files(people)[0], wrong[1], files(people)[1], wrong[2]]
    found = embedder.embed(images, batch_size=1)
    assert found.sources.tolist() == [1, 3]
    assert np.allclose(found.vectors, embedder.embed(files(people)[:2]).vectors, atol=1e-3)
    assert sorted(found.failures) == [0, 2, 4]
    assert 'text.jpg' in found.failures[0]
    assert found.failures[2] == 'images must be uint8 (H, W, 3), got uint8 (4, 4)'
    assert 'No such file' in found.failures[4]


def test_tensors_have_their_channels_first(embedder, people):
    [photo] = [np.array(Image.open(file)) for file in files(people)[:1]]
    first = embedder.embed(torch.from_numpy(photo).permute(2, 0, 1))
    assert np.array_equal(first.vectors, embedder.embed(photo).vectors)
    last = embedder.embed([torch.from_numpy(photo), Image.fromarray(photo)])
    assert last.failures[0] == f'tensors must be uint8 (3, H, W), got uint8 {photo.shape}'
    assert last.failures[1] == 'an image must be a file, an array or a tensor, got Image'


def test_nothing_gives_nothing(embedder):
    found = embedder.embed([])
    assert found.vectors.shape == (0, 16)
    assert (len(found), found.failures) == (0, {})
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        embedder.embed([], batch_size=0)


def test_flipping_averages_with_the_mirrored_face(embedder, people):
    image = np.array(Image.open(files(people)[0]))
    both = embedder.embed([image, image[:, ::-1]]).vectors.sum(0)
    flipped = embedder.embed([image], flip=True).vectors[0]
    assert np.allclose(flipped, both / np.linalg.norm(both), atol=1e-3)
    assert np.allclose(flipped, embedder.embed([image[:, ::-1]], flip=True).vectors[0], atol=1e-3)


def test_a_photograph_of_several_people_has_several_embeddings(people):
    model = build()
    boxes = np.array([[0, 0, 30, 30], [20, 20, 64, 64]], np.float32)

    def detector(image):
        return Faces(boxes, np.ones(2)) if image.mean() > 1 else Faces(boxes[:0], np.ones(0))

    embedder = FaceEmbedder.of_model(model, recipe_of(model, 'test'), FaceFinder(detector, 'all'))
    found = embedder.embed([files(people)[0], np.zeros((64, 64, 3), np.uint8), files(people)[1]])
    assert found.sources.tolist() == [0, 0, 2, 2]
    assert found.failures == {1: 'no face found'}
    assert embedder.preprocessing == dict(face='function', size=64, colours='RGB')


@pytest.mark.parametrize('norm', [True, False])
def test_published_weights_say_how_the_network_is_built(tmp_path, people, norm):
    losses = dict(type='ArcFaceLoss', num_classes=7)
    model = build(norm=norm, gray=True, losses=losses)
    write_weights(published(model), tmp_path / 'w.safetensors')
    loaded = FaceEmbedder.load(tmp_path / 'w.safetensors')
    original = FaceEmbedder.of_model(model, recipe_of(model, 'test'))
    assert loaded.fingerprint == original.fingerprint
    assert loaded.preprocessing == original.preprocessing
    assert loaded.preprocessing == dict(face='middle square', size=64, colours='gray')
    paths = files(people)[:3]
    assert np.array_equal(loaded.embed(paths).vectors, original.embed(paths).vectors)


def test_weights_are_not_used_at_another_size_or_in_other_colours(tmp_path):
    model = build(losses=dict(type='ArcFaceLoss', num_classes=7))
    weights = published(model)
    write_weights(weights, tmp_path / 'w.safetensors')
    load_weights(model, tmp_path / 'w.safetensors')  # what only training needs may be missing
    with pytest.raises(InputError, match='input_size=32 instead of 64, gray=True instead of False'):
        load_weights(build(size=32, gray=True), tmp_path / 'w.safetensors')
    rest = {name: tensor for name, tensor in weights.state.items() if name != 'head.fc.weight'}
    write_weights(Weights(rest, weights.recipe), tmp_path / 'x.safetensors')
    with pytest.raises(InputError, match=r'head\.fc\.weight missing'):
        load_weights(model, tmp_path / 'x.safetensors')


def test_another_weight_is_another_fingerprint(embedder):
    model = build()
    before = FaceEmbedder.of_model(model, recipe_of(model, 'test')).fingerprint
    model.head.fc.weight.data[0, 0] += 1e-6
    assert before == embedder.fingerprint
    assert FaceEmbedder.of_model(model, recipe_of(model, 'test')).fingerprint != before


@pytest.mark.parametrize(
    ('source', 'checkpoint', 'message'),
    [
        ('nothing', None, 'nothing: no such file, and no such model in the zoo'),
        ('ssd_mbv1_0.75_tf_bccd', None, 'not an embedder, but a detector'),
        ('configs/face/arcface_mbv1_0.25-112.py', None, 'needs a checkpoint'),
        ('ssd_mbv1_0.75_tf_bccd', 'x.pth', 'x.pth goes with a config only'),
        ('configs/face/attributes_mbv1_0.25-128.py', 'x.pth', 'not a detector, classifier or embedder, but'),
    ],
)
def test_what_is_no_embedder(source, checkpoint, message):
    with pytest.raises(InputError, match=message):
        FaceEmbedder.load(source, checkpoint)


def test_images_of_another_size_are_refused_by_the_preprocessor():
    with pytest.raises(ValueError, match=r'images must be 3 x 64 x 64, got \(3, 32, 32\)'):
        build().data_preprocessor(dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)]))
    with pytest.raises(ValueError, match="mode must be tensor, loss or predict, got 'x'"):
        build()(torch.zeros(1, 3, 64, 64), mode='x')


@pytest.mark.parametrize(
    ('height', 'width', 'whole'),
    [
        (160, 160, False),
        (250, 250, False),
        (218, 178, False),
        (500, 400, False),
        (480, 640, True),
        (640, 480, True),
        (300, 500, True),
        (1080, 1080, True),
    ],
)
def test_whole_photographs_are_counted_and_face_crops_are_not(model, height, width, whole):
    embedder = FaceEmbedder.of_model(model, recipe_of(model, 'test'))
    photograph, crop = np.zeros((height, width, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    embedder.embed([photograph, crop])
    embedder.embed([photograph])
    note = embedder.uncropped_note()
    assert bool(note) == whole
    assert not whole or (note.startswith('2 of 3 images are whole photographs') and '--detector' in note)
    found = FaceEmbedder.of_model(
        model, recipe_of(model, 'test'), FaceFinder(lambda image: box_of_all(image))
    )
    found.embed([photograph])
    assert found.uncropped_note() == ''


def box_of_all(image):
    height, width = image.shape[:2]
    return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('name', ['cuda', 'cuda:7', 'meta', 'nonsense', 'mps'])
def test_a_device_that_is_not_there_is_one_line(name):
    from mbv1_backbone.inference.pytorch import device_of

    with pytest.raises(InputError, match=f'device {name}: PyTorch cannot use it on this machine') as raised:
        device_of(name)
    assert len(str(raised.value)) < 300
