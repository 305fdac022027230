# The released focal-loss, cosine recipe: all anchors count, and the background is all zeros rather than
# a logit of its own.
_base_ = 'ssd_mbv1_coco.py'
model = dict(
    bbox_head=dict(
        background_logit=False,
        loss_cls=dict(_delete_=True, type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.75)),
    train_cfg=dict(neg_pos_ratio=None))
