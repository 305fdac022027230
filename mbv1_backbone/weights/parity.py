"""Whether imported weights are the source's network: the same images through its own runtime and ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mbv1_backbone.common.errors import InputError, NotInstalledError, user_errors
from mbv1_backbone.common.files import decode
from mbv1_backbone.weights.recalibrate import build_network, normalise
from mbv1_backbone.weights.store import Weights

__all__ = [
    'MAX_LOST',
    'MIN_COSINE',
    'MIN_SAME',
    'Parity',
    'Runtime',
    'compare',
    'litert_runtime',
    'our_runtime',
    'read_labels',
    'top1',
]

MIN_COSINE = dict(
    fp32=0.9999, fp16=0.999, bf16=0.99, int8=0.95
)  # mean over the images, by what is computed in
_DIGITS = 10  # a class number has fewer
MIN_SAME = dict(fp32=0.99, fp16=0.98, bf16=0.95, int8=0.85)  # share of boxes, or of classes
MAX_LOST = 0.005  # of AP, of verification accuracy or of top-1 accuracy
Runtime = Callable[[Tensor], np.ndarray]
"""RGB images (N, 3, H, W), uint8, to logits (N, classes)."""


@dataclass
class Parity:
    """How two ways of running one network compare on the same images.

    Attributes:
        figures: By name.
        failures: What is out of tolerance, one line each.
    """

    figures: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def require(self, name: str, value: float, minimum: float) -> None:
        """Note a figure that must not be less than ``minimum``.

        Args:
            name: Of the figure.
            value: Of the figure; NaN fails.
            minimum: The least that passes.
        """
        self.figures[name] = value
        if not value >= minimum:
            self.failures.append(f'{name} is {value:.4f}, at least {minimum:g} is required')


def our_runtime(weights: Weights) -> Runtime:
    """Our network with imported weights."""
    network = build_network(weights)

    @torch.inference_mode()
    def run(images: Tensor) -> np.ndarray:
        return network(normalise(images, weights)).numpy()

    return run


def litert_runtime(paths: Sequence[str | os.PathLike[str]]) -> Runtime:
    """TensorFlow Lite's own interpreter on one file, or on several that follow each other.

    Gives what goes into the softmax, dequantised.

    Raises:
        NotInstalledError: If the interpreter is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise NotInstalledError(
            "needs TensorFlow Lite's interpreter: pip install 'mbv1-backbone[weights]'"
        ) from error
    stages = []
    for path in paths:
        interpreter = Interpreter(
            os.fspath(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        stages.append(interpreter)

    def run_one(image: np.ndarray) -> np.ndarray:
        value = image
        for stage in stages:
            entry = stage.get_input_details()[0]
            stage.set_tensor(entry['index'], value.reshape(entry['shape']).astype(entry['dtype']))
            stage.invoke()
            value = stage.get_tensor(stage.get_output_details()[0]['index'])
        return _logits(stages[-1])

    def run(images: Tensor) -> np.ndarray:
        return np.stack([run_one(image) for image in images.permute(0, 2, 3, 1).numpy()])

    return run


def _logits(interpreter) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The input of the final softmax, else the output, as real numbers."""
    last = interpreter._get_ops_details()[-1]  # noqa: SLF001  (LiteRT lists its operators nowhere else)
    index = last['inputs'][0] if last['op_name'] == 'SOFTMAX' else last['outputs'][0]
    details = next(d for d in interpreter.get_tensor_details() if d['index'] == index)
    scale, zero_point = details['quantization']
    values = interpreter.get_tensor(index).reshape(-1).astype(np.float64)
    return (values - zero_point) * scale if scale else values


def compare(
    ours: Runtime, theirs: Runtime, batches: Iterable[Tensor], labels: Sequence[int] | None = None
) -> Parity:
    """Run the same images through both.

    Args:
        ours: Our network.
        theirs: The source's own runtime.
        batches: RGB images (N, 3, H, W), uint8.
        labels: Right classes, as the networks number them.

    Returns:
        Figures ``images``; ``same_top1``: share of images on which both name the same class first;
        ``correlation``: Pearson's, of all logits, each image's centred at its mean; and with labels ``top1``
        and ``source_top1``: shares on which ours, and the source's, names the right class.

    Raises:
        ValueError: If there are no images.
    """
    pairs = [(ours(batch), theirs(batch)) for batch in batches]
    if not pairs:
        raise ValueError('comparing needs at least one image')
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    centred = [side - side.mean(1, keepdims=True) for side in (a, b)]
    parity = Parity(dict(images=len(a)))
    parity.figures['same_top1'] = top1(a, b.argmax(1))
    parity.figures['correlation'] = float(np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1])
    if labels is not None:
        parity.figures |= dict(top1=top1(a, labels), source_top1=top1(b, labels))
    return parity


def top1(scores: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """Share of rows (N, classes) whose highest score is that of the label, (N,)."""
    return float((scores.argmax(1) == np.asarray(labels)).mean())


def read_labels(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> tuple[list[Path], list[int]]:
    """Images and their classes from a text file: a name and a number a line.

    Raises:
        InputError: If the file is missing or names no image, or a line has another form.
    """
    if not Path(path).is_file():
        raise InputError(f'labels {path}: no such file')
    files: dict[Path, int] = {}
    with user_errors(f'labels {path}'):
        lines = decode(Path(path).read_bytes()).splitlines()
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(' ')
        if name and label.isascii() and label.isdigit() and len(label) < _DIGITS:
            file = Path(os.path.normpath(Path(folder) / name.strip()))
            if file in files:
                raise InputError(f'{path}:{number}: {name.strip()} is named twice')
            files[file] = int(label)
        elif line.strip():
            raise InputError(f'{path}:{number}: a line is an image name and a class number, got {line!r}')
    if not files:
        raise InputError(f'labels {path}: names no image')
    return [*files], [*files.values()]
