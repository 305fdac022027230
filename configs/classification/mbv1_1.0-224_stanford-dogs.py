# 1.0 MobileNet-224 on Stanford Dogs: the paper's Table 10, 83.3 % top-1, 569 M mult-adds, 3.3 M params. Data:
# mbv1 convert stanford-dogs FOLDER --out-dir data/stanford_dogs. The second of two steps; the first is
# mbv1_1.0-224_web-dogs.py, whose checkpoint is the start: --cfg-options load_from=work_dirs/.../epoch_20.pth.
# Without it: --pretrained, ImageNet's weights, which have seen these very photographs. Not trained here.
_base_ = 'mbv1_1.0-224_folder.py'
data_source = (
    'Stanford Dogs comes from http://vision.stanford.edu/aditya86/ImageNetDogs; lay it out by '
    'mbv1 convert stanford-dogs FOLDER --out-dir data/stanford_dogs')
data_root = 'data/stanford_dogs'
model = dict(head=dict(num_classes=120))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=375),
    dict(type='CosineAnnealingLR', T_max=max_epochs, begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
