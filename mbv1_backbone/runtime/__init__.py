"""Exported files, ready to run. Never imports torch."""
