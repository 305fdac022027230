"""COCO's numbering of its classes."""

# Ids of the 80 classes, in the order of their names; ten of 1..90 are not used.
COCO_CATEGORY_IDS: tuple[int, ...] = tuple(
    i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
)
