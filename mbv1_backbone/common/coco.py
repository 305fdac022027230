"""COCO's classes, and its numbering of them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ['COCO_CATEGORY_IDS', 'COCO_CLASSES', 'category_ids']

# Ids of the 80 classes, in the order of their names; ten of 1..90 are not used.
COCO_CATEGORY_IDS: tuple[int, ...] = tuple(
    i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
)

# fmt: off
COCO_CLASSES: tuple[str, ...] = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
    'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
    'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
    'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
    'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
    'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard',
    'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase',
    'scissors', 'teddy bear', 'hair drier', 'toothbrush',
)
# fmt: on


def category_ids(classes: Sequence[str], known: Sequence[int | str] | None = None) -> tuple[int | str, ...]:
    """Category ids by label, for results in COCO's form.

    Args:
        classes: Names by label.
        known: The ids of the data set that was trained on, where they are known.

    Returns:
        Those; else COCO's where the classes are COCO's; else label + 1, as our converters number them.
    """
    if known and len(known) == len(classes):
        return tuple(known)
    return COCO_CATEGORY_IDS if tuple(classes) == COCO_CLASSES else tuple(range(1, len(classes) + 1))
