"""Networks that are ready to use: detectors, embedders, classifiers."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
