# Caltech-101 (https://data.caltech.edu/records/mzrjq-6wc02) laid out as train/CLASS/ and test/CLASS/, 101 classes. What
# was measured is mbv1 classify train, which fits the last layer first; this is the run of the whole network alone:
# mbv1 train CONFIG --pretrained.
_base_ = 'mbv1_1.0-224_folder.py'
data_root = 'data/caltech101'
model = dict(head=dict(num_classes=101))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
