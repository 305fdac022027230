"""Annotation formats of detection data sets.

``coco`` reads and checks what training, evaluation and browsing use; ``voc`` is converted to it. A reader of
another format (YOLO's) gives the same plain lists of images, annotations and categories to ``coco.checked``.
"""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
