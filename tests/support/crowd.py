"""Made-up people for the tests of galleries."""

import hashlib

import numpy as np

DIM = 16


def people(count, seed=0, images=2, dim=DIM, spread=0.3):
    """Embeddings around a centre a person, with names, files and hashes."""
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.normal(size=(count, dim)), images, axis=0)
    vectors = centres + spread * generator.normal(size=centres.shape)
    names = [f'person {seed}-{i // images}' for i in range(count * images)]
    files = [f'{name}/{i}.jpg' for i, name in enumerate(names)]
    return vectors, names, files, [hashlib.sha256(file.encode()).hexdigest() for file in files]


def normalised(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
