# Blood cells with width .75, all of it built as TensorFlow's, for pre-trained weights of TensorFlow:
#   mbv1 train configs/detection/ssd_mbv1_0.75_tf_bccd.py --pretrained mobilenet_v1_0.75_192_quant.tflite
_base_ = 'ssd_mbv1_bccd.py'
model = dict(
    data_preprocessor=dict(mean=[128.0, 128.0, 128.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(widen_factor=0.75, padding='same'),
    neck=dict(
        in_channels=(384, 768),
        out_channels=(384, 768, 384, 192, 192, 96),
        conv_cfg=dict(type='Conv2dSame')),
    bbox_head=dict(in_channels=(384, 768, 384, 192, 192, 96)))
