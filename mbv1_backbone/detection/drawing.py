"""Boxes on images."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torchvision.utils import draw_bounding_boxes
from typing_extensions import override

from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.pictures import picture_names, save_png
from mbv1_backbone.detection.masks import Masks

__all__ = ['DrawDetectionsHook', 'class_colour', 'draw_boxes', 'masks_of', 'side_by_side']


def class_colour(label: int) -> tuple[int, int, int]:
    """A bright RGB colour for a class, far from those of the classes before it."""
    hue = (0.58 + label * 0.618034) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    width: int | None = None,
    masks: Masks | None = None,
    texts: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw boxes, with class names, scores and masks where given.

    Args:
        image: RGB uint8 (H, W, 3).
        boxes: (N, 4) x1, y1, x2, y2 in pixels; N may be 0.
        labels: N class indices, for the colours and names.
        names: Class names; without them the boxes get no text.
        scores: N scores in 0..1.
        width: Line width in pixels; by default it follows the image's size.
        masks: N objects' pixels, each tinted in a colour of its own.
        texts: N texts, in place of names and scores.

    Returns:
        A new RGB uint8 (H, W, 3).
    """
    if len(boxes) == 0:
        return image.copy()
    if masks is not None:
        image = masks.drawn(image, [class_colour(place + 1) for place in range(len(masks))])
    height, side = image.shape[0], max(image.shape[:2])
    x1, y1, x2, y2 = np.asarray(boxes, dtype=np.float32).reshape(-1, 4).clip(0).T
    x2, y2 = np.maximum(x1, x2.clip(max=image.shape[1] - 1)), np.maximum(y1, y2.clip(max=height - 1))
    if texts is None and names is not None:
        texts = [names[label] for label in labels]
        if scores is not None:
            texts = [f'{text} {score:.2f}' for text, score in zip(texts, scores, strict=True)]
    colours = [class_colour(int(label)) for label in labels]
    drawn = draw_bounding_boxes(
        torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
        torch.from_numpy(np.stack([x1, y1, x2, y2], axis=1)),
        labels=None if texts is None else list(texts),
        colors=colours,
        fill_labels=texts is not None,
        label_colors=['black' if sum(colour) > 330 else 'white' for colour in colours],
        width=width or max(1, round(side / 250)),
        font=_font(),
        font_size=max(10, round(side / 40)),
    )
    return drawn.permute(1, 2, 0).numpy()


def side_by_side(*images: np.ndarray, gap: int = 4) -> np.ndarray:
    """Images (H_i, W_i, 3) beside each other on white, tops aligned."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    left = 0
    for image in images:
        sheet[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap
    return sheet


@HOOKS.register_module()
class DrawDetectionsHook(Hook):
    """While testing, write each image with its annotations (left) and its detections (right).

    The test pipeline must load annotations after resizing, as mmdet's and ours do: they are then in pixels
    of the image file, like the detections.

    Args:
        out_dir: Folder for the PNG files, named like the images; numbered, too, where two have one name.
        score_thr: Detections below it are not drawn.
    """

    def __init__(self, out_dir: str, score_thr: float = 0.3) -> None:
        self.out_dir = Path(out_dir)
        self.score_thr = score_thr
        self._names: dict[str, str] = {}

    @override
    def before_test(self, runner: Runner) -> None:
        dataset = runner.test_dataloader.dataset
        paths = dict.fromkeys(dataset.get_data_info(index)['img_path'] for index in range(len(dataset)))
        self._names = dict(zip(paths, picture_names([Path(path) for path in paths]), strict=True))

    @override
    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        names = runner.test_dataloader.dataset.metainfo['classes']
        for sample in outputs or []:
            image = read_image(sample.img_path, sample.ori_shape)
            truth, found = sample.gt_instances, sample.pred_instances
            found = found[found.scores >= self.score_thr].cpu()
            pair = side_by_side(
                draw_boxes(
                    *(image, get_box_tensor(truth.bboxes).cpu().numpy(), truth.labels.tolist(), names),
                    masks=masks_of(truth),
                ),
                draw_boxes(
                    *(image, found.bboxes.numpy(), found.labels.tolist(), names, found.scores.tolist()),
                    masks=masks_of(found),
                ),
            )
            save_png(pair, self.out_dir / self._names[sample.img_path])


def masks_of(instances: Any) -> Masks | None:
    """Masks of mmdet's instances: annotations, or predictions, bool (N, H, W); None without."""
    masks = instances.get('masks')
    if masks is None:
        return None
    return Masks.of_arrays(masks.cpu().numpy() if isinstance(masks, torch.Tensor) else masks.to_ndarray())


@cache
def _font() -> str:
    from matplotlib import get_data_path

    return str(Path(get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf')
