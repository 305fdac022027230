"""Films and cameras: frames in, drawn films out, and what is followed and counted in between."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
