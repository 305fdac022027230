"""From image files to embeddings: images a second, of each stage and of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.benchmarks.timing import seconds
from mbv1_backbone.face.embedder import FaceEmbedder
from mbv1_backbone.face.geometry import LANDMARKS, align, fit_square
from mbv1_backbone.images import read_image


def measure(
    embedder: FaceEmbedder, files: Sequence[Path], batch_sizes: Sequence[int], rounds: int
) -> dict[str, float]:
    """Images a second, by stage.

    Decoding and aligning are measured in one thread and in two; the network, and the whole way from files to
    embeddings, at each batch size in float32 and in bfloat16.

    Args:
        embedder: Without a finder.
        files: Images, all of them used each time.
        batch_sizes: Of the network.
        rounds: Times that everything is run.
    """
    size = embedder.input_size
    images = [read_image(file) for file in files]
    squares = [fit_square(image, size) for image in images]

    def marked(image: np.ndarray) -> np.ndarray:
        return align(image, LANDMARKS * min(image.shape[:2]), size)

    def decode(pool: ThreadPoolExecutor) -> None:
        list(pool.map(read_image, files))

    def align_all(pool: ThreadPoolExecutor) -> None:
        list(pool.map(marked, images))

    def network(same: FaceEmbedder, batch: int) -> None:
        for start in range(0, len(squares), batch):
            same.forward(squares[start : start + batch])

    jobs: dict[str, Callable[[], Any]] = {}
    for threads in (1, 2):
        pool = ThreadPoolExecutor(threads)
        jobs[f'decode, {threads} threads'] = partial(decode, pool)
        jobs[f'align, {threads} threads'] = partial(align_all, pool)
    for bf16 in (False, True):
        same = FaceEmbedder(embedder.model, embedder.recipe, bf16=bf16)
        for batch in batch_sizes:
            how = f'{"bf16" if bf16 else "fp32"}, batch {batch}'
            jobs[f'network, {how}'] = partial(network, same, batch)
            jobs[f'files to embeddings, {how}'] = partial(same.embed, files, batch)
    return {name: len(files) / time for name, time in seconds(jobs, rounds).items()}


def draw(rates: dict[str, float], title: str, path: str | Path) -> Path:
    """Bars of images a second, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.34 * len(rates) + 1.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = {'decode': 'tab:orange', 'align': 'tab:green', 'network': 'tab:blue', 'files': 'tab:red'}
    bars = axes.barh(
        list(rates), list(rates.values()), color=[colours[n.split(',')[0].split()[0]] for n in rates]
    )
    axes.bar_label(bars, fmt='%.0f', padding=3)
    axes.set(xscale='log', xlabel='images a second', title=title)
    axes.invert_yaxis()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
