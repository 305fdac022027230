"""Detection, classification and embeddings over HTTP, beside the library's own."""

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.mask import decode
from server.conftest import Rectangles, files, photograph, png

from mbv1_backbone.common.images import read_image
from mbv1_backbone.detection.masks import Masks
from mbv1_backbone.inference.classifier import Classifier
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.server import about_routes
from mbv1_backbone.server.limits import Limits

FACE = np.full((64, 48, 3), 200, np.uint8)


def test_boxes_are_the_detectors(web):
    answer = web.post(
        '/v1/detect', files=files(photograph(FACE, 30, 20), png(np.zeros((50, 70, 3), np.uint8)))
    )
    assert answer.status_code == 200
    first, second = answer.json()['results']
    assert (first['image'], first['name'], first['width'], first['height']) == (0, '0.png', 200, 160)
    [found] = first['objects']
    assert found['box'] == [30, 20, 78, 84]
    assert (found['category'], found['category_id'], round(found['score'], 5)) == ('face', 1, 0.9)
    assert second['objects'] == []
    assert (
        web.post('/v1/detect?score=0.95', files=files(photograph(FACE))).json()['results'][0]['objects'] == []
    )


def test_a_broken_image_fails_alone_with_its_reason(web):
    answer = web.post('/v1/detect', files=files(b'no image', photograph(FACE)))
    assert answer.status_code == 200
    [good], [bad] = answer.json()['results'], answer.json()['failures']
    assert good['image'] == 1
    assert (bad['image'], bad['name']) == (0, '0.png')
    assert 'cannot be decoded' in bad['reason']
    answer = web.post('/v1/detect', files=files(b'no image', b''))
    error = answer.json()['error']
    assert (answer.status_code, error['code'], error['field']) == (422, 'invalid', 'images')
    assert [failure['image'] for failure in error['failures']] == [0, 1]


def test_the_picture_is_the_image_with_boxes(web):
    answer = web.post('/v1/detect/picture', files=files(photograph(FACE)))
    assert (answer.status_code, answer.headers['content-type']) == (200, 'image/png')
    drawn, plain = read_image(answer.content), read_image(photograph(FACE))
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()
    assert web.post('/v1/detect/picture', files=files(b'', b'')).status_code == 422


class Outlines(Rectangles):
    """The same, with the pixels of what it finds."""

    def _found(self, image):
        found = super()._found(image)
        return replace(found, masks=Masks.of_arrays((image > 40)[None][: len(found)]))


def test_masks_are_answered_in_cocos_form_and_drawn(start):
    web, plain = start(detector=Detector(Outlines())), start(detector=Detector(Rectangles()))
    hollow = FACE.copy()
    hollow[20:40, 10:30] = 0  # which its box does not tell
    canvas = np.zeros((160, 200, 3), np.uint8)
    canvas[20:84, 30:78] = hollow
    sent = files(png(canvas), png(np.zeros((50, 70, 3), np.uint8)))
    first, second = web.post('/v1/detect', files=sent).json()['results']
    [found] = first['objects']
    assert second['objects'] == []
    np.testing.assert_array_equal(decode(found['segmentation']), canvas[..., 0] > 40)
    [without] = plain.post('/v1/detect', files=sent).json()['results'][0]['objects']
    assert without['segmentation'] is None
    assert without['box'] == found['box']
    drawn, boxes = (
        read_image(one.post('/v1/detect/picture', files=sent[:1]).content) for one in (web, plain)
    )
    changed = (drawn != boxes).any(2)
    assert changed[70:80, 35:70].mean() > 0.9  # on the object, under its name's label
    assert not changed[:, 100:].any()


def test_embeddings_are_the_librarys(web, faces, drawn):
    sent = [images[0] for images in drawn.values()]
    answer = web.post('/v1/embed', files=files(*sent, png(np.zeros((90, 90, 3), np.uint8)))).json()
    wanted = faces.embed([read_image(one) for one in sent])
    assert answer['model'] == faces.fingerprint
    for result, vector, place in zip(answer['results'], wanted.vectors, wanted.places, strict=True):
        [face] = result['faces']
        np.testing.assert_allclose(face['vector'], vector, atol=1e-5)
        assert tuple(face['box']) == place.box
        assert face['quality'] == pytest.approx(place.quality.value)
    [failure] = answer['failures']
    assert (failure['image'], failure['reason']) == (4, 'no face found')


class Means:
    """A network that tells dark from bright, with the spec of a classifier."""

    parallel = 1

    class spec:
        kind, size, crop, classes, places = 'classifier', (8, 8), 1.0, ('dark', 'bright'), ()

    def run(self, images):
        bright = images.mean(axis=(1, 2, 3)) / 255
        return (np.stack([1 - bright, bright], 1).astype(np.float32),)


def test_classes_are_the_librarys(start):
    classifier = Classifier(Means())
    web = start(classifier=classifier)
    sent = [png(np.full((20, 30, 3), value, np.uint8)) for value in (10, 240)]
    answer = web.post('/v1/classify?top=1', files=files(*sent)).json()
    rows = classifier.classify([read_image(one) for one in sent])
    for result, row in zip(answer['results'], rows, strict=True):
        [category] = result['categories']
        assert category['category'] == classifier.classes[int(row.argmax())]
        assert category['score'] == pytest.approx(float(row.max()))


def test_clients_share_batches_and_each_gets_its_own_answer(web, network):
    places = [(x, y) for x in range(0, 120, 12) for y in (0, 30, 60)]
    network.gate.clear()

    def ask(place):
        [result] = web.post('/v1/detect', files=files(photograph(FACE, *place))).json()['results']
        return result['objects'][0]['box'][:2]

    with ThreadPoolExecutor(len(places)) as pool:
        asked = [pool.submit(ask, place) for place in places]
        wait_for(lambda: web.service.active == len(places) and len(web.service.vision._objects) >= 16)
        network.gate.set()
        assert [tuple(one.result()) for one in asked] == places
    assert max(network.batches) == 16
    assert sum(network.batches) == len(places)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_queue_and_too_many_requests_are_refused_at_once(start, network):
    web = start(detector=Detector(network), limits=Limits(requests=3, queue=2, batch=1, seconds=20))
    network.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        busy = pool.submit(web.post, '/v1/detect', files=files(photograph(FACE)))
        assert network.entered.wait(20)
        waiting = pool.submit(web.post, '/v1/detect', files=files(photograph(FACE)))
        wait_for(lambda: web.service.active == 2 and len(web.service.vision._objects) == 1)
        more = pool.submit(web.post, '/v1/detect', files=files(photograph(FACE)))
        wait_for(lambda: web.service.active == 3 and len(web.service.vision._objects) == 2)
        refused = web.post('/v1/detect', files=files(photograph(FACE)))
        assert (refused.status_code, refused.headers['retry-after']) == (503, '1')
        assert refused.json()['error']['code'] == 'overloaded'
        assert web.get('/v1/health').status_code == 200
        assert web.get('/v1/ready').status_code == 503
        network.gate.set()
        assert [one.result().status_code for one in (busy, waiting, more)] == [200] * 3
    assert web.get('/v1/ready').status_code == 200


def test_what_is_not_done_in_time_is_refused(start, network):
    web = start(detector=Detector(network), limits=Limits(seconds=0.3))
    network.gate.clear()
    refused = web.post('/v1/detect', files=files(photograph(FACE)))
    network.gate.set()
    assert (refused.status_code, refused.headers['retry-after']) == (503, '1')
    assert 'in time' in refused.json()['error']['message']


def test_what_fails_on_one_clients_image_fails_for_it_alone(web, network, monkeypatch):
    usual = network._found

    def found(image):
        if image.max() == 255:
            raise RuntimeError('secret')
        return usual(image)

    monkeypatch.setattr(network, '_found', found)
    network.gate.clear()
    bad = np.full((10, 10, 3), 255, np.uint8)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(web.post, '/v1/detect', files=files(photograph(FACE)))
        assert network.entered.wait(20)
        asked = [
            pool.submit(web.post, '/v1/detect', files=files(one))
            for one in (photograph(FACE), photograph(bad))
        ]
        wait_for(lambda: len(web.service.vision._objects) == 2)
        network.gate.set()
        good, failed = (one.result() for one in asked)
        assert first.result().status_code == 200
    assert good.status_code == 200
    assert failed.status_code == 500
    assert failed.json()['error']['code'] == 'defect'
    assert 'secret' not in failed.text


def bomb(side):
    """A PNG of a few hundred bytes that says it is a square of so many pixels."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(b'\0' * 10))
        + chunk(b'IEND', b'')
    )


def test_images_and_bodies_beyond_the_limits_are_refused(start, network):
    limits = Limits(body_bytes=20_000, images=2, image_pixels=40_000, pixels=40_000)
    web = start(detector=Detector(network), limits=limits)
    answer = web.post('/v1/detect', files=files(bomb(5000), photograph(FACE)))
    assert 'at most 40000 are read' in answer.json()['failures'][0]['reason']
    small = png(np.zeros((150, 200, 3), np.uint8))
    cases = {
        413: [files(small, small), files(b'x' * 20_000)],
        400: [files(small, small, small)],
    }
    for status, bodies in cases.items():
        for body in bodies:
            refused = web.post('/v1/detect', files=body)
            assert (refused.status_code, set(refused.json())) == (status, {'error'})
    boundary = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    pieces = iter([boundary, b'x' * 15_000, b'x' * 15_000])
    refused = web.post(
        '/v1/detect', content=pieces, headers={'Content-Type': 'multipart/form-data; boundary=b'}
    )
    assert refused.status_code == 413  # no Content-Length told it before


@pytest.mark.parametrize(
    ('status', 'path', 'request_', 'said'),
    [
        (415, '/v1/detect', dict(content=b'x', headers={'Content-Type': 'image/png'}), 'multipart/form-data'),
        (400, '/v1/detect', dict(content=b'x', headers={'Content-Type': 'multipart/form-data'}), 'boundary'),
        (
            400,
            '/v1/detect',
            dict(content=b'--b\r\nx', headers={'Content-Type': 'multipart/form-data; boundary=b'}),
            'last boundary',
        ),
        (422, '/v1/detect', dict(files={'image': b'x'}), "'image': no such field"),
        (400, '/v1/detect', dict(data={'identity': 'Ada'}, files={'images': b'x'}), 'fields'),
        (422, '/v1/detect?score=2', dict(files={'images': b'x'}), 'score: '),
        (422, '/v1/detect?score=nan', dict(files={'images': b'x'}), 'score: '),
        (422, '/v1/embed?policy=none', dict(files={'images': b'x'}), 'policy: '),
        (409, '/v1/classify', dict(files={'images': b'x'}), '--classifier'),
        (404, '/v1/nothing', {}, 'Not Found'),
        (405, '/v1/health', {}, 'Not Allowed'),
    ],
)
def test_a_wrong_request_gets_one_line(web, status, path, request_, said):
    answer = web.post(path, **request_)
    assert answer.status_code == status
    message = answer.json()['error']['message']
    assert said in message
    assert '\n' not in message


def test_exif_turns_the_image_before_boxes_are_told(web):
    plain = read_image(photograph(FACE, 30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(plain).save(file, format='PNG', exif=exif)
    [result] = web.post('/v1/detect', files=files(file.getvalue())).json()['results']
    assert (result['width'], result['height']) == (160, 200)
    assert result['objects'][0]['box'] == [160 - 84, 30, 160 - 20, 78]


def test_the_metrics_count_requests_and_batches(web):
    web.post('/v1/detect', files=files(photograph(FACE)))
    web.get('/v1/nothing')
    text = web.get('/v1/metrics').text
    assert 'mbv1_requests_total{method="POST",route="/v1/detect",status="200"} 1.0' in text
    assert 'route="none",status="404"' in text
    assert 'mbv1_batch_size_count{network="detector"} 1.0' in text


def test_models_and_their_cards(start, network, faces, monkeypatch):
    web = start(detector=Detector(network), names={'detector': 'ssd_mbv1_0.75_tf_bccd'}, embedder=faces)
    told = {model['role']: model for model in web.get('/v1/models').json()['models']}
    assert (told['detector']['classes'], told['detector']['card']) == (2, True)
    assert (told['embedder']['dims'], told['embedder']['card']) == (faces.dims, False)
    assert web.get('/v1/models/detector/card').text.startswith('# ')
    assert web.get('/v1/models/embedder/card').status_code == 404
    monkeypatch.setattr(about_routes, 'zoo_models', lambda: pytest.fail('the zoo is read again'))
    assert web.get('/v1/models/detector/card').text.startswith('# ')
    assert web.get('/v1/models/..%2f..%2fetc/card').status_code in (404, 422)
