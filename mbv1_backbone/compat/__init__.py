"""What makes other projects' versions work together: operators of mmcv, patches of mmdet and mmengine.

Importing it loads none of them: ``hooks`` waits for them to be imported.
"""

__all__: list[str] = []  # it works by being imported
