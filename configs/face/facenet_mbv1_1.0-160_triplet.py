# FaceNet's triplet loss (arXiv:1503.03832): 16 people, 4 images each, semi-hard negatives, margin .2.
_base_ = [
    '_base_/models/mbv1_embedding_160.py',
    '_base_/datasets/lfw_160.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
model = dict(losses=dict(type='SemiHardTripletLoss', margin=0.2))
train_dataloader = dict(
    drop_last=False,
    batch_sampler=dict(type='PKBatchSampler', images_per_identity=4))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
max_epochs = 40  # each shows 4 images of every person who has two or more
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=1e-6,
        by_epoch=True,
        convert_to_iter_based=True),
]
