# UTKFace's aligned and cropped images as they come, whose names are the labels; a fifth of them is held out.
_base_ = 'age_gender_race_mbv1_1.0-224_utkface.py'
data_source = 'UTKFace (aligned and cropped faces) comes from https://susanqq.github.io/UTKFace/'
data_root = 'data/UTKFace/'
utkface = dict(
    data_root=data_root,
    ann_file='',
    data_prefix=dict(img=''),
    left_out=[  # named without a race
        '39_1_20170116174525125.jpg.chip.jpg',
        '61_1_20170109142408075.jpg.chip.jpg',
        '61_1_20170109150557335.jpg.chip.jpg',
    ])
train_dataloader = dict(dataset=dict(split='train', **utkface))
val_dataloader = dict(dataset=dict(split='val', **utkface))
test_dataloader = val_dataloader
