"""The former way to bring mmcv's operators alone, until 0.2: importing the package does it."""

import warnings

from mbv1_backbone.compat.mmcv_ops import *  # noqa: F403

warnings.warn(
    'mbv1_backbone.mmcv_ops is gone in 0.2; import mbv1_backbone, which stands in for mmcv._ext by itself',
    DeprecationWarning,
    stacklevel=2,
)
