# Three breeds of Stanford Dogs in train/BREED/ and test/BREED/, 270 photographs to train on: the whole network alone, from
# ImageNet's weights, which have seen these very photographs: mbv1 train CONFIG --pretrained.
_base_ = 'mbv1_1.0-224_folder.py'
data_root = 'data/dogs3'
model = dict(head=dict(num_classes=3))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
