"""Core ML packages: a plan as a program of Apple's."""

__all__: list[str] = []
