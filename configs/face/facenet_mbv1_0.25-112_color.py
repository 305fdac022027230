# The smallest: a quarter of the width, at 112 pixels.
_base_ = 'facenet_mbv1_0.75-160_color.py'
model = dict(data_preprocessor=dict(input_size=112), backbone=dict(widen_factor=0.25))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_pipeline = _base_.train_pipeline
train_pipeline[1].size = 112
test_pipeline = _base_.test_pipeline
test_pipeline[0].size = 112
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
