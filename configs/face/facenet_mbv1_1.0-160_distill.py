# Paper, 4.7 and Table 14: squared differences to a teacher's embeddings. Of a blend of two faces, which nobody has,
# the teacher itself says what it is: it is run on it.
_base_ = [
    '_base_/models/mbv1_embedding_160.py',
    '_base_/datasets/lfw_160.py',
    '_base_/schedules/adamw_cosine_12e.py',
    '_base_/default_runtime.py',
]
model = dict(losses=dict(type='DistillationLoss'))
train_pipeline = [
    dict(type='LoadFace', size=160, gray=True),
    dict(type='BlendFaces', prob=0.5, size=160, gray=True),
    dict(type='FlipFace'),
    dict(
        type='NcnnTeacher',
        file='data/weights/mobilefacenet_ncnn/MobileFaceNet.param',
        mean=0,
        std=1,
        scale=1.18,  # its own alignment is about a square of 136 pixels in the middle of LFW's 160, 7 higher
        shift=(0.0, 0.05)),
    dict(type='MoveFace', size=160),
    dict(type='LightFace'),
    dict(type='PackFace'),
]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(teacher_file='teacher_train.npz', partners=True, pipeline=train_pipeline))
