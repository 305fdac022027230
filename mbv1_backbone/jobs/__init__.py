"""Work that many processes share: very many photographs, embedded or detected in, into Parquet files."""

from mbv1_backbone.common.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
