"""ncnn files: a plan as layers and their weights."""

__all__: list[str] = []
