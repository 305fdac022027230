# Fine-tuning on photographs of one's own, in train/CLASS/ and test/CLASS/: what `mbv1 classify train` fills in.
_base_ = [
    '_base_/models/mbv1_224.py',
    '_base_/datasets/folder_224.py',
    '_base_/schedules/sgd_cosine_8e.py',
    '_base_/default_runtime.py',
]
model = dict(head=dict(topk=(1, )))
# The last epoch's weights are the result: to choose among epochs by the photographs of the test would flatter it.
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None, rule=None))
