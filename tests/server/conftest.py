"""A service of small networks: drawn faces, a detector of bright rectangles, a gallery of four people."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.inference.box_detector import BoxDetector
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.server.app import create_app
from mbv1_backbone.server.service import Service


class Rectangles:
    """A detection network that finds the one bright rectangle of a dark image, as a face.

    Attributes:
        batches: Sizes of the batches that it was given.
        gate: It waits for it before each batch.
    """

    classes = ('face', 'other')
    category_ids = (1, 2)
    backend = 'of tests'
    parallel = 1

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def prepare(self, image):
        return image.max(axis=2)

    def detect(self, batch):
        self.entered.set()
        self.gate.wait(20)
        self.batches.append(len(batch))
        return [self._found(prepared) for _, prepared in batch]

    def _found(self, image):
        ys, xs = np.nonzero(image > 40)
        boxes = np.zeros((0, 4), np.float32)
        if len(ys):
            boxes = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64))


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format='PNG')
    return file.getvalue()


def photograph(face, x=40, y=40, size=(160, 200)) -> bytes:
    """A dark image with a face at a place in it."""
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[y : y + face.shape[0], x : x + face.shape[1]] = np.maximum(face, 60)
    return png(canvas)


def files(*contents):
    return [('images', (f'{number}.png', content)) for number, content in enumerate(contents)]


COLOURS = {
    'person_a': (250, 70, 70),
    'person_b': (70, 250, 70),
    'person_c': (70, 70, 250),
    'person_d': (240, 240, 240),
}


def portrait(colour, number):
    """A face of a colour, with a small spot that is another one each time."""
    face = np.full((64, 64, 3), colour, np.uint8)
    face[:3, :3] = 100 + 5 * number
    return photograph(face)


@pytest.fixture(scope='session')
def drawn():
    """Photographs of four people, three each, by name."""
    return {name: [portrait(colour, number) for number in range(3)] for name, colour in COLOURS.items()}


@pytest.fixture
def network():
    return Rectangles()


@pytest.fixture
def faces(embedder, network):
    """The embedder with a finder."""
    return FaceEmbedder(embedder.network, FaceFinder(BoxDetector(Detector(network)), 'all'))


@pytest.fixture
def gallery(faces, tmp_path):
    return Gallery.create(tmp_path / 'gallery', faces.dims, faces.fingerprint, faces.preprocessing)


@pytest.fixture
def start(tmp_path):
    """Start the application of a service; the client's errors are answers."""
    clients = []

    def _start(hosts=None, origins=(), **parts):
        service = Service(**parts)
        client = TestClient(create_app(service, hosts, origins), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        client.service = service
        return client

    yield _start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def web(start, network, faces, gallery):
    """A service of a detector, an embedder and a gallery, which it closes."""
    return start(detector=Detector(network), embedder=faces, gallery=gallery)
