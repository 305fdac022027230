# Built and fed as Google's ImageNet weights were, to start from them: mbv1 train CONFIG --pretrained FILE
model = dict(
    type='AgeGenderRaceModel',
    data_preprocessor=dict(
        type='FacePreprocessor',
        input_size=224,
        mean=[128.0, 128.0, 128.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True),
    backbone=dict(
        type='MobileNetV1',
        widen_factor=1.0,
        padding='same',
        act_cfg=dict(type='ReLU6'),
        norm_cfg=dict(type='BN', eps=0.001)))
