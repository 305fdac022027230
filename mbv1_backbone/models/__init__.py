"""MobileNetV1, its layers, its preprocessing and its cost."""
