"""Detectors of faces that stand on our backbone."""
