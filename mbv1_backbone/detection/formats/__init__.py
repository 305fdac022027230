"""Annotation formats of detection data sets."""
