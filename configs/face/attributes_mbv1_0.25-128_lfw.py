# A stand-in for Table 12 where CelebA and a teacher of attributes are not to be had: LFW, and soft labels from the
# main directions of a face teacher's embeddings, made by mbv1 faces soft-attributes.
_base_ = 'attributes_mbv1_0.25-128.py'
data_source = 'LFW as folders of people; attributes_*.npz from mbv1 faces soft-attributes: see "Faces" in the README.'
data_root = 'data/'
lfw = dict(
    _delete_=True,
    type='AttributeDataset',
    data_root=data_root,
    data_prefix=dict(img='lfw/images'))
train_dataloader = dict(
    dataset=dict(ann_file='lfw_attributes/train.npz', pipeline=_base_.train_pipeline, **lfw))
val_dataloader = dict(
    dataset=dict(
        ann_file='lfw_attributes/dev.npz', test_mode=True, pipeline=_base_.test_pipeline, **lfw))
test_dataloader = val_dataloader
