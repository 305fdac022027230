_base_ = 'mbv1_1.0-224_imagenet.py'
train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 128
test_pipeline = _base_.test_pipeline
test_pipeline[1].size = 128
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
