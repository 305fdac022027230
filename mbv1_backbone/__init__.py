"""MobileNetV1 as a backbone for OpenMMLab's toolboxes. Importing this package registers everything.

``MobileNetV1`` goes into mmengine's root registry, where mmdet, mmpretrain, mmseg and mmpose find it.
Where mmdet is installed, the SSD head and anchors and the data transforms are registered too, and
``mmcv._ext`` is stood in for where the compiled mmcv is missing (see ``mmcv_ops``).
"""

import warnings
from importlib.util import find_spec

if find_spec('mmengine') is None:
    raise ImportError('mbv1_backbone needs mmengine: pip install mmengine (or onedl-mmengine)')

from mbv1_backbone.compat import mmcv_ops

mmcv_ops.install()

from mbv1_backbone import face, training  # noqa: E402, F401  (registers hooks, models and data sets)
from mbv1_backbone.common.errors import InputError  # noqa: E402
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1, Tap  # noqa: E402
from mbv1_backbone.weights import import_weights  # noqa: E402  (registers URL schemes)

__version__ = '0.1.0'
__all__ = ['InputError', 'MobileNetV1', 'Tap', '__version__', 'import_weights']

if find_spec('mmdet') is not None:
    try:
        from mbv1_backbone import detection  # noqa: F401
    except (ImportError, AssertionError) as error:  # mmdet asserts the versions of mmcv and mmengine
        warnings.warn(f'mbv1_backbone: no detection, mmdet cannot be imported: {error}', stacklevel=2)
