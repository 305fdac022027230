# WIDER FACE: train/label.txt is RetinaFace's list with landmarks (https://github.com/biubug6/Pytorch_Retinaface),
# split/ are WIDER's own lists and ground/ the .mat files of its evaluation.
data_source = (
    'WIDER FACE comes from http://shuoyang1213.me/WIDERFACE (WIDER_train, WIDER_val, wider_face_split and eval_tools), '
    'the list with landmarks from https://github.com/biubug6/Pytorch_Retinaface.')
data_root = 'data/wider/'
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadFaceBoxes'),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        saturation_range=(0.5, 1.5),
        hue_delta=18),
    dict(type='CropPhoto', size=640),
    dict(type='FlipPhoto', prob=0.5),
    dict(type='PackPhoto', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='BoundedResize', scale=1600),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='WiderFaces',
        data_root=data_root,
        ann_file='train/label.txt',
        data_prefix=dict(img='train/images/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='WiderFaces',
        data_root=data_root,
        ann_file='split/wider_face_val_bbx_gt.txt',
        data_prefix=dict(img='val/images/'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='WiderFaceMetric', data_root=data_root, truth='ground')
test_evaluator = val_evaluator
