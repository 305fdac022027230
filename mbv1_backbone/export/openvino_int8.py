"""OpenVINO models in 8 bits, quantised by OpenVINO's own NNCF (https://github.com/openvinotoolkit/nncf)."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import NotInstalledError
from mbv1_backbone.common.telemetry import no_telemetry

__all__ = ['quantised_openvino']

_IN_8_BITS = ('Convolution', 'MatMul')
_TALKERS = ('nncf', 'torch.utils.cpp_extension')  # loggers that say on standard error how far they are


def quantised_openvino(model: Any, images: Sequence[np.ndarray]) -> Any:
    """A model with its dense convolutions and linear layers in 8 bits, the rest in float32.

    Weights have a scale for each output channel, and 7 bits: of 8, the sum of two products overflows the 16
    bits in which processors without VNNI instructions (AVX2, the first of AVX-512) add them, and a classifier
    that finds 275 of 300 photographs on a newer processor finds 196 there. Activations have a scale a tensor,
    of the mean of the images' least and greatest values: with the extremes of all images Google's SSD loses
    .007 of AP in place of .001. First convolution and box predictors lose nothing that could be measured.
    Depthwise convolutions stay in float32: in 8 bits they are no faster, and lose most: some of their
    channels hardly ever see a value, and have weights a thousand times as large as the others.

    Args:
        model: OpenVINO's, in float32, of a file that ``writers`` makes; it is not changed.
        images: uint8 (H, W, 3) of the input's size, as the network will see them.

    Raises:
        NotInstalledError: If NNCF is not installed.
    """
    with no_telemetry(), _quiet():
        try:
            nncf = importlib.import_module('nncf')
        except ModuleNotFoundError as error:
            if error.name != 'nncf':
                raise
            raise NotInstalledError(
                "int8 for OpenVINO needs NNCF: pip install 'mbv1-backbone[nncf]'"
            ) from error
        advanced = importlib.import_module('nncf.quantization.advanced_parameters')
        folded = _folded(model)
        return nncf.quantize(
            folded,
            nncf.Dataset(images, lambda image: {'images': image[None]}),
            subset_size=len(images),
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(types=_in_float(folded), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
            ),
        )


def _folded(model: Any) -> Any:
    """The model with what it makes of constants alone made: biases, of which NNCF corrects none else."""
    passes = importlib.import_module('openvino.passes')
    folded, manager = model.clone(), passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(folded)
    return folded


def _in_float(model: Any) -> list[str]:
    """Kinds of operators that stay in float32."""
    kinds = {node.get_type_name() for node in model.get_ops()}
    return sorted(kinds - {*_IN_8_BITS, 'Constant', 'Parameter', 'Result'})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and what NNCF, and torch at its import, say of themselves."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
