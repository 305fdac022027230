"""LiteRT (TensorFlow Lite) files: a graph as a plan of operators, its int8 form, and the flatbuffer."""

__all__: list[str] = []
