"""What every room uses: errors, files, images, prefetching. Imports nothing of ours."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
