"""From image files to embeddings: images a second, of each stage and of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import seconds
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.prefetch import batched, map_concurrently
from mbv1_backbone.face.geometry import LANDMARKS, align, fit_square
from mbv1_backbone.inference.embedder import FaceEmbedder


def measure(
    embedders: Mapping[str, FaceEmbedder], files: Sequence[Path], batch_sizes: Sequence[int], rounds: int
) -> dict[str, float]:
    """Images a second, by stage.

    Decoding and aligning are measured in one thread and in two; the network, and the whole way from files to
    embeddings, at each batch size.

    Args:
        embedders: The same network on several backends, without finders.
        files: Images, all of them used each time.
        batch_sizes: Of the network.
        rounds: Times that everything is run.
    """
    size = next(iter(embedders.values())).input_size
    images = [read_image(file) for file in files]
    squares = [fit_square(image, size) for image in images]

    def marked(image: np.ndarray) -> np.ndarray:
        return align(image, LANDMARKS * min(image.shape[:2]), size)

    def decode(pool: ThreadPoolExecutor) -> None:
        list(pool.map(read_image, files))

    def align_all(pool: ThreadPoolExecutor) -> None:
        list(pool.map(marked, images))

    def network(embedder: FaceEmbedder, batch: int) -> None:
        list(map_concurrently(embedder.forward, batched(squares, batch), embedder.parallel))

    jobs: dict[str, Callable[[], Any]] = {}
    for threads in (1, 2):
        pool = ThreadPoolExecutor(threads)
        jobs[f'decode, {threads} threads'] = partial(decode, pool)
        jobs[f'align, {threads} threads'] = partial(align_all, pool)
    for name, embedder in embedders.items():
        for batch in batch_sizes:
            jobs[f'network, {name}, batch {batch}'] = partial(network, embedder, batch)
            jobs[f'files to embeddings, {name}, batch {batch}'] = partial(embedder.embed, files, batch)
    return {name: len(files) / time for name, time in seconds(jobs, rounds).items()}
