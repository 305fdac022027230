"""LiteRT (TensorFlow Lite) files: a plan in int8, and as a flatbuffer."""

__all__: list[str] = []
