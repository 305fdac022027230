"""Galleries on Milvus: one collection each, whose server or cluster searches, replicates and keeps it."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
