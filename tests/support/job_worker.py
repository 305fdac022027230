"""A worker of a job with a network of NumPy's: it starts in a second, so that tests can kill many."""

import sys
import time
from types import SimpleNamespace

import numpy as np

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


if __name__ == '__main__':
    folder, *inputs = sys.argv[1:]
    work(folder, {**ABOUT, 'inputs': inputs}, embedder(0.15), 4)
