"""Weights of other projects as ours. Importing it registers their URL schemes with mmengine."""

from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.sources import import_weights
from mbv1_backbone.weights.store import Weights, fingerprint, read_weights, write_weights

__all__ = ['Recipe', 'Weights', 'fingerprint', 'import_weights', 'read_weights', 'write_weights']
