# ArcFace (arXiv:1801.07698) with batch norm on the embedding, at the size that the field uses. Scale and margin are
# milder than the paper's 64 and .5, which are for millions of images.
_base_ = [
    '_base_/models/mbv1_embedding_160.py',
    '_base_/datasets/lfw_160.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(input_size=112),
    head=dict(norm=True),
    losses=dict(type='ArcFaceLoss', num_classes=3738, margin=0.3, scale=32.0))
train_pipeline = _base_.train_pipeline
train_pipeline[2].size = 112
test_pipeline = _base_.test_pipeline
test_pipeline[0].size = 112
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
