"""``_base_ = 'mbv1_backbone::detection/ssd_mbv1_coco.py'``: our configs as bases, from anywhere.

mmengine knows OpenMMLab's own packages by a fixed table and refuses all others ("does not support to load
.. config", https://github.com/open-mmlab/mmengine/issues/1410), finds files only where pip says that a
package lies, which is not where an editable install has them, and builds what such a base holds in the
package's own registry, which we do not have: ours is mmengine's root. To find another package's config it
reads all of that package's metafiles (mmdet's take a second); here once a name.
"""

from __future__ import annotations

import functools
from typing import Any

from mbv1_backbone.common.resources import SCOPE, find_config

__all__ = ['extend']


def extend(config: Any) -> None:
    """Let mmengine's class ``Config`` find ``mbv1_backbone::`` bases; a second call does nothing."""
    original = config._get_cfg_path
    if hasattr(original, '__wrapped__'):
        return

    # the file does not matter for another package's; mmengine reads all of its metafiles for each base
    external = functools.cache(lambda cfg_path: original(cfg_path, ''))

    @functools.wraps(original)
    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(SCOPE):
            return str(find_config(cfg_path)), None
        return external(cfg_path) if '::' in cfg_path else original(cfg_path, filename)

    config._get_cfg_path = staticmethod(get_cfg_path)
