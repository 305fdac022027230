"""Detection, embeddings and a gallery of faces over HTTP: for people and programs without Python."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
