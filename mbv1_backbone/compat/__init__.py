"""What makes other projects' versions work together: operators of mmcv, patches of mmdet and mmengine."""
