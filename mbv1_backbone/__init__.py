"""MobileNetV1 as a backbone for OpenMMLab's toolboxes, and the paper's applications on it.

Importing this package loads nothing heavy: public names are loaded when they are first used. mmengine's
registries know our backbone, heads, hooks, transforms and data sets from then on, whether mmengine
and mmdet are imported before or after it (see ``compat``).
"""

from mbv1_backbone.common.lazy import public_names
from mbv1_backbone.compat import hooks

__version__ = '0.1.0'
__getattr__, __dir__, __all__ = public_names(__name__, __file__)

hooks.install()
