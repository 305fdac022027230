"""From image files to boxes: ours against mmdet's, torchvision's and TensorFlow Lite's detectors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import nn

from benchmarks.timing import seconds
from mbv1_backbone.common.images import read_image
from mbv1_backbone.compat.registry import use_scope
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.inference.detector_parity import TFLiteDetector
from mbv1_backbone.inference.exportable import exportable, input_of
from mbv1_backbone.inference.loading import load
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.runtime.sessions import open_session
from mbv1_backbone.training import load_config
from mbv1_backbone.weights import import_weights, write_weights

CONFIGS = Path(__file__).parents[1] / 'configs' / 'detection'
OURS = {
    'SSD300': 'ssd_mbv1_coco',
    'SSDLite 320': 'ssdlite_mbv1_coco',
    'Faster R-CNN 300': 'faster_rcnn_mbv1_300_coco',
    'Faster R-CNN 600': 'faster_rcnn_mbv1_600_coco',
}
GOOGLES = 'ssd_mbv1_0.75_tf_coco'
_NOTHING = 8.0  # logit of the background in untrained heads: as good as no box is left to suppress
_BATCH = 8
_CALIBRATION = 32  # images


def measure(files: Sequence[Path], tflite: Path | None, rounds: int) -> dict[str, float]:
    """Milliseconds an image, from file to boxes, in batches of 8 where the project takes batches.

    Untrained heads are made to find nothing, so that nobody's suppression is held up by noise; Google's
    weights are real.

    Args:
        files: Images, all of them used each time.
        tflite: Google's SSD file, run by TensorFlow Lite and, imported, by us.
        rounds: Times that everything is run.
    """
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, Callable[[], Any]] = {}
        for name, config in OURS.items():
            ours = _ours(CONFIGS / f'{config}.py', Path(folder) / f'{config}.pth')
            jobs[f'ours, {name}'] = partial(ours.detect, files, _BATCH)
            if name == 'SSD300':
                files_of = (CONFIGS / f'{config}.py', Path(folder) / f'{config}.pth')
                if find_spec('nncf'):
                    jobs[f'ours, {name}, int8'] = partial(in_int8(*files_of, files).detect, files, _BATCH)
                for how, same in (
                    ('in torch', load(*files_of, backend='torch', kind='detector')),
                    ("mmdet's prediction, fp32", Detector.load(*files_of)),
                ):
                    jobs[f'ours, {name}, {how}'] = partial(same.detect, files, _BATCH)
        jobs['mmdet DetInferencer, ssdlite_mobilenetv2'] = _mmdet(files)
        jobs['torchvision, ssdlite320_mobilenet_v3_large'] = _torchvision(files)
        if tflite is not None:
            weights = Path(folder) / 'google.safetensors'
            write_weights(import_weights(tflite), weights)
            same = load(CONFIGS / f'{GOOGLES}.py', weights, mode='throughput', kind='detector', cache=False)
            jobs["ours, Google's SSD300 of width .75"] = partial(same.detect, files, _BATCH)
            jobs['TensorFlow Lite, the same file'] = _tensorflow_lite(files, tflite)
        times = seconds(jobs, rounds)
    return {name: 1000 * time / len(files) for name, time in times.items()}


def _ours(config: Path, checkpoint: Path) -> Detector:
    """Untrained, on the fastest backend."""
    MMLogger.get_current_instance().setLevel('WARNING')  # else it lists every layer that it initialises
    torch.manual_seed(0)
    cfg = load_config(config)
    use_scope('mmdet')
    model = MODELS.build(dict(cfg.model, _scope_='mmdet'))
    model.init_weights()
    if hasattr(model, 'roi_head'):
        model.roi_head.bbox_head.fc_cls.bias.data[-1] = _NOTHING
    else:
        for predictor in model.bbox_head.cls_convs:
            _quieten(predictor, model.bbox_head.num_logits, model.bbox_head.use_sigmoid_cls, -1)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return load(config, checkpoint, mode='throughput', kind='detector', cache=False)


def in_int8(config: Path, checkpoint: Path, files: Sequence[Path]) -> Detector:
    """A detector in OpenVINO's int8, calibrated on the files that it is timed on: its boxes do not count.

    Args:
        config: Of the detector.
        checkpoint: Of the detector.
        files: Images.
    """
    graph, spec = exportable(resolve(config, checkpoint), 'int8')
    path = checkpoint.with_suffix('.xml')
    write(graph, spec, path, [input_of(read_image(file), spec) for file in files[:_CALIBRATION]])
    return Detector.of_network(open_session(path, mode='throughput'))


def _quieten(predictor: nn.Module, logits: int, sigmoid: bool, background: int) -> None:
    """Let a predictor's last convolution find nothing."""
    last = [module for module in predictor.modules() if isinstance(module, nn.Conv2d)][-1]
    bias = last.get_parameter('bias').data.view(-1, logits)
    if sigmoid:
        bias.fill_(-_NOTHING)
    else:
        bias[:, background] = _NOTHING


def _mmdet(files: Sequence[Path]) -> Callable[[], Any]:
    import mmdet
    from mmdet.apis import DetInferencer

    folder = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'ssd'
    config = folder / 'ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py'
    inferencer = DetInferencer(str(config), device='cpu', show_progress=False)
    for predictor in inferencer.model.bbox_head.cls_convs:
        _quieten(predictor, 81, False, -1)
    paths = [str(file) for file in files]
    return lambda: inferencer(paths, batch_size=_BATCH, no_save_vis=True, no_save_pred=True)


def _torchvision(files: Sequence[Path]) -> Callable[[], Any]:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    for predictor in model.head.classification_head.module_list:
        _quieten(predictor, 91, False, 0)

    @torch.inference_mode()
    def run() -> None:
        for start in range(0, len(files), _BATCH):
            images = [read_image(file) for file in files[start : start + _BATCH]]
            model([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images])

    return run


def _tensorflow_lite(files: Sequence[Path], tflite: Path) -> Callable[[], Any]:
    detector = TFLiteDetector(tflite)

    def run() -> list[np.ndarray]:
        return [detector.detect(read_image(file)).boxes for file in files]

    return run
