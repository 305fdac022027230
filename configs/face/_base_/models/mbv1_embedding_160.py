# Built and fed as Google's ImageNet weights were, to start from them: mbv1 train CONFIG --pretrained FILE
model = dict(
    type='FaceEmbeddingModel',
    data_preprocessor=dict(
        type='FacePreprocessor',
        input_size=160,
        gray=True,  # LFW's images here are gray; others are made so
        mean=[128.0, 128.0, 128.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True),
    backbone=dict(
        type='MobileNetV1',
        widen_factor=1.0,
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_cfg=dict(type='BN', eps=0.001)),
    head=dict(type='EmbeddingHead', embedding_dims=128))
