"""A trained detector as a Python object: image files or arrays in, boxes out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mbv1_backbone.common.coco import COCO_CATEGORY_IDS
from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.images import as_image
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.models.layers import folded
from mbv1_backbone.runtime.sessions import Session, top_left
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.training.checkpoint import load_weights
from mbv1_backbone.training.config import load_config

ImageLike = str | os.PathLike[str] | np.ndarray


@dataclass(frozen=True)
class Detections:
    """What was found in one image, by falling score.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the image as given.
        scores: float32 (N,), 0..1.
        labels: int64 (N,), index into the detector's ``classes``.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_thr: float) -> Detections:
        """Those with a score of at least ``score_thr``."""
        keep = self.scores >= score_thr
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])


@dataclass(frozen=True)
class Seen:
    """An image, RGB uint8 (H, W, 3), and what was found in it."""

    image: np.ndarray
    detections: Detections


class Detector:
    """Any mmdet detector, ready to detect.

    Args:
        model: In evaluation mode afterwards; a copy with folded batch norms is what detects.
        pipeline: The config's test pipeline.
        classes: Names, by label.
        bf16: Run the network in bfloat16: faster on processors that have it.

    Example:
        >>> detector = Detector.load('configs/detection/ssd_mbv1_coco.py', 'epoch_120.pth')  # doctest: +SKIP
        >>> detector.detect(['street.jpg'])[0].above(0.5).boxes  # doctest: +SKIP

    Attributes:
        classes: Names, by label.
        category_ids: COCO's ids where the classes are COCO's, else label + 1, as ``mbv1 convert voc``
            and ``mbv1 demo-data`` number them.
        backend: What runs the network, and in which precision.
        parallel: Batches that go through the network at once.
    """

    parallel = 1

    def __init__(
        self,
        model: nn.Module,
        pipeline: list[dict[str, Any]],
        classes: Sequence[str],
        bf16: bool = False,
    ) -> None:
        self.model = model.eval()
        self._network = folded(model)
        self.bf16 = bf16
        self._name(classes)
        after_loading = [step for step in pipeline[1:] if step['type'] != 'LoadAnnotations']
        self._pipeline = Compose(after_loading)

    def _name(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        is_coco = self.classes == tuple(CocoDataset.METAINFO['classes'])
        self.category_ids = COCO_CATEGORY_IDS if is_coco else tuple(range(1, len(self.classes) + 1))

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return f'torch {torch.__version__}, {"bf16" if self.bf16 else "fp32"}'

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        device: str = 'cpu',
        bf16: bool = False,
    ) -> Detector:
        """Build the model of a config and load its weights.

        Raises:
            InputError: If the config or the checkpoint is missing or wrong, or one is not the other's.
        """
        cfg = config if isinstance(config, Config) else load_config(config)
        with user_errors(f'config {cfg.filename}'):
            init_default_scope(cfg.get('default_scope', 'mmdet'))
            cfg.model.setdefault('train_cfg', None)
            model = MODELS.build(_scoped(cfg.model))
        meta = load_weights(model, checkpoint)
        dataset = cfg.test_dataloader.dataset
        trained_on = (meta.get('dataset_meta') or {}).get('classes')
        classes = trained_on or dataset.get('metainfo', {}).get('classes') or CocoDataset.METAINFO['classes']
        return cls(model.to(device), dataset.pipeline, classes, bf16)

    def detect(self, images: Sequence[ImageLike], batch_size: int = 8) -> list[Detections]:
        """Detect in files, or RGB uint8 arrays (H, W, 3).

        Raises:
            InputError: If a file cannot be read.
        """
        found = []
        for seen in self.stream(images, batch_size):
            if isinstance(seen, InputError):
                raise seen
            found.append(seen.detections)
        return found

    def stream(self, images: Iterable[ImageLike], batch_size: int = 8) -> Iterator[Seen | InputError]:
        """Detect in images one after the other, without end if need be.

        Files are decoded and resized by threads, ahead of the network.

        Args:
            images: Files, or RGB uint8 arrays (H, W, 3).
            batch_size: Images that go through the network at once.

        Yields:
            Image and detections, or, of a file that cannot be read, why.

        Raises:
            ValueError: If the batch size is not positive, or an array is not an image.
        """
        prepared = prefetch(self._prepare, images, DECODERS, max_pending=2 * batch_size)
        batches = batched(prepared, batch_size)
        for batch in map_concurrently(self._detect_batch, batches, self.parallel):
            yield from batch

    def _prepare(self, image: ImageLike) -> tuple[np.ndarray, Any] | InputError:
        """The image, and what the network is fed of it."""
        try:
            array = as_image(image)
        except InputError as error:
            return error
        return array, self._fitted(array)

    def _detect_batch(self, batch: Sequence[tuple[np.ndarray, Any] | InputError]) -> list[Seen | InputError]:
        readable = [item for item in batch if not isinstance(item, InputError)]
        found = iter(self._forward(readable) if readable else ())
        return [item if isinstance(item, InputError) else Seen(item[0], next(found)) for item in batch]

    def _fitted(self, array: np.ndarray) -> Any:
        return self._pipeline(_as_loaded(array))

    @torch.inference_mode()
    def _forward(self, batch: Sequence[tuple[np.ndarray, Any]]) -> list[Detections]:
        data = dict(
            inputs=[sample['inputs'] for _, sample in batch],
            data_samples=[sample['data_samples'] for _, sample in batch],
        )
        device = next(self._network.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.bf16):
            outputs = self._network.test_step(data)
        return [_to_detections(output.pred_instances) for output in outputs]

    def to_coco(self, detections: Detections, image_id: int, file_name: str) -> list[dict[str, Any]]:
        """One image's detections in COCO's result form, with the file's name and the class's."""
        return [
            dict(
                image_id=image_id,
                file_name=file_name,
                bbox=[round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                score=round(float(score), 5),
                category_id=self.category_ids[label],
                category_name=self.classes[label],
            )
            for (x1, y1, x2, y2), score, label in zip(
                detections.boxes, detections.scores, detections.labels, strict=True
            )
        ]


class ExportedDetector(Detector):
    """The same of a file of ``mbv1 export``.

    Args:
        session: Of a detector.

    Raises:
        InputError: If the session is of something else.
    """

    def __init__(self, session: Session) -> None:
        if session.spec.kind != 'detector':
            raise InputError(f'{session.path}: not a detector, but an {session.spec.kind}')
        self.session = session
        self.parallel = session.parallel
        self._name(session.spec.classes)

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return str(self.session)

    def _fitted(self, array: np.ndarray) -> Any:
        return fit(array, self.session.spec)

    def _forward(self, batch: Sequence[tuple[np.ndarray, Any]]) -> list[Detections]:
        found = self.session.run(np.stack([image for _, (image, _) in batch]))
        results = []
        for (array, (_, scale)), boxes, scores, labels in zip(batch, *found, strict=True):
            height, width = array.shape[:2]
            kept = scores > 0
            limits = np.array([width, height, width, height], np.float32)
            inside = np.clip(boxes[kept] / np.tile(scale, 2).astype(np.float32), 0, limits)
            results.append(Detections(inside, scores[kept], labels[kept]))
        return results


def fit(image: np.ndarray, spec: ModelSpec) -> tuple[np.ndarray, tuple[float, float]]:
    """An image in the size of an exported detector's input, and by how much its width and height were scaled.

    An image that keeps its shape lies at the top left, the rest is of the mean colour.
    """
    (height, width), (new_h, new_w) = image.shape[:2], spec.size
    if not spec.keep_ratio:
        return cv2.resize(image, (new_w, new_h)), (new_w / width, new_h / height)
    factor = min(new_h / height, new_w / width)
    size = (int(width * factor + 0.5), int(height * factor + 0.5))
    return top_left(cv2.resize(image, size), spec), (size[0] / width, size[1] / height)


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's image ids from names like ``000000000139.jpg``; else 1, 2, 3, ... in order."""
    stems = [path.stem for path in paths]
    numeric = all(stem.isascii() and stem.isdigit() for stem in stems) and len(set(map(int, stems))) == len(
        stems
    )
    return [int(stem) for stem in stems] if numeric else list(range(1, len(stems) + 1))


def _scoped(model: dict[str, Any]) -> dict[str, Any]:
    """The same model config, looked up from mmdet's registry whatever the default scope."""
    return dict(model, _scope_='mmdet')


def _as_loaded(array: np.ndarray) -> dict[str, Any]:
    return dict(
        img=np.ascontiguousarray(array[..., ::-1]),
        img_shape=array.shape[:2],
        ori_shape=array.shape[:2],
        img_id=0,
        img_path=None,
    )


def _to_detections(instances: Any) -> Detections:
    return Detections(
        instances.bboxes.float().cpu().numpy(),
        instances.scores.float().cpu().numpy(),
        instances.labels.cpu().numpy(),
    )
