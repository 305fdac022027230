"""Where a photograph was taken: by a network over cells of the earth, and by the most alike photograph."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
