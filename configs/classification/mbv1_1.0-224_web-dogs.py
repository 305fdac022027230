# The paper's first step of Table 10: photographs of the breeds as searches of the web find them, with their noise
# (arXiv:1511.06789); the second is mbv1_1.0-224_stanford-dogs.py. The paper's were not released: collect some into
# data/web_dogs/train/BREED, with the folders of Stanford Dogs and without its photographs; test/BREED there is
# Stanford Dogs'. A higher rate than in the second step. Not trained here.
_base_ = 'mbv1_1.0-224_stanford-dogs.py'
data_source = 'Collect photographs of the breeds into train/BREED and put the test of Stanford Dogs into test/BREED.'
data_root = 'data/web_dogs'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.04))
