"""Detectors of faces that stand on our backbone, and the data that they learn from."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
