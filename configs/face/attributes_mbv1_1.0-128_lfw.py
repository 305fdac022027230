_base_ = 'attributes_mbv1_1.0-224_lfw.py'
model = dict(data_preprocessor=dict(input_size=128))
train_pipeline = _base_.train_pipeline
train_pipeline[0].size = 160  # as the images are
train_pipeline[2].size = 128
test_pipeline = _base_.test_pipeline
test_pipeline[0].size = 128
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
