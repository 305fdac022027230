# The backbone of vladmandic/facenet_mobilenetv1_vggface2 as it is, at its own 224 pixels of the loose square; its last
# layer alone meets two teachers. mbv1 faces fit made the zoo's; this one trains it by gradients, and evaluates it:
#   mbv1 train configs/face/facenet_mbv1_1.0-224_distill.py --pretrained vladmandic/facenet_mobilenetv1_vggface2
_base_ = 'facenet_mbv1_1.0-160_color.py'
model = dict(
    data_preprocessor=dict(input_size=258, window=(10, 17, 224)),
    backbone=dict(frozen_stages=13))
train_pipeline = _base_.train_pipeline
train_pipeline[1].size = 258
test_pipeline = _base_.test_pipeline
test_pipeline[0].size = 258
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
