"""The former place of ``load``, until 0.2."""

import warnings

from mbv1_backbone.inference.loading import load

__all__ = ['load']

warnings.warn(
    'mbv1_backbone.deploy.loading is gone in 0.2; load is mbv1_backbone.load now',
    DeprecationWarning,
    stacklevel=2,
)
