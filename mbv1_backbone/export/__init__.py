"""Networks as files: graphs from bytes of images to predictions, and their writers."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
