# PlaNet on MobileNet (the paper's 4.3 and Table 11): 1.0 MobileNet-224 over cells of the earth. With some 9,600 cells
# it has the table's 13 M params and .58 B mult-adds. PlaNet learned from 91 million photographs, which are Google's:
# not trained here. The batch of 256 is 8 processes of 32; other batches: mbv1 train --auto-scale-lr.
_base_ = [
    '_base_/models/mbv1_224.py',
    '_base_/datasets/places_224.py',
    '_base_/schedules/rmsprop_exp_100e.py',
    '_base_/default_runtime.py',
]
model = dict(
    head=dict(
        _delete_=True,
        type='PlacesHead',
        in_channels=1024,
        data_root=_base_.data_root,
        cells=_base_.cells,
        num_classes=9600))  # where there is no file of cells yet; else as many as that has
default_hooks = dict(checkpoint=dict(save_best='places/within_200km', rule='greater'))
custom_hooks = _base_.custom_hooks + [dict(type='NearestPhotographHook')]
