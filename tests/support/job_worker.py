"""A worker of a job with a network of NumPy's: it starts in a second, so that tests can kill many."""

import sys
import time
from types import SimpleNamespace

import numpy as np

from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.jobs import work

ABOUT = dict(
    part_size=7,
    image_column='image',
    name_column=None,
    policy='largest',
    flip=False,
    made_with={'model': 'plain'},
)
DIM = 8


class PlainNetwork:
    """Random projections of 8 x 8 pixels."""

    parallel = 1
    precision = 'fp32'
    spec = SimpleNamespace(
        kind='embedder', dims=DIM, size=(8, 8), fingerprint='f' * 64, recipe={'gray': False}
    )

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.matrix = np.random.default_rng(0).normal(size=(192, DIM)).astype(np.float32)

    def run(self, images):
        time.sleep(self.seconds)
        vectors = (images.reshape(len(images), -1).astype(np.float32) - 128) @ self.matrix
        return [vectors / np.linalg.norm(vectors, axis=1, keepdims=True)]


def embedder(seconds=0.0):
    return FaceEmbedder(PlainNetwork(seconds))


class PlainDetection:
    """Finds the lighter half of an image, and what is dark in the middle of it."""

    classes = ('light', 'dark')
    category_ids = (1, 2)
    backend = 'NumPy'
    parallel = 1
    precision = 'fp32'
    fingerprint = 'e' * 64
    settings = 'a' * 64

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def prepare(self, image):
        return None

    def detect(self, batch):
        time.sleep(self.seconds)
        return [self._one(image.astype(np.float32).mean(axis=2) / 255) for image, _ in batch]

    @staticmethod
    def _one(image):
        height, width = image.shape
        left, right = image[:, : width // 2].mean(), image[:, width // 2 :].mean()
        half = [0, 0, width // 2, height] if left > right else [width // 2, 0, width, height]
        middle = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
        dark = 1 - image[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4].mean()
        scores = np.array([max(left, right), dark], np.float32)
        found = Detections(np.array([half, middle], np.float32), scores, np.array([0, 1]))
        return found.chosen(np.argsort(-scores))


def detector(seconds=0.0):
    return Detector(PlainDetection(seconds))


NETWORKS = {'embed': embedder, 'detect': detector}

if __name__ == '__main__':
    folder, task, *inputs = sys.argv[1:]
    work(folder, {**ABOUT, 'inputs': inputs}, NETWORKS[task](0.15), 4)
