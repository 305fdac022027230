"""Quantisation-aware fine-tuning: the network that is trained is the file that is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmengine.structures import BaseDataElement
from support import embedders
from support.plain_graphs import patterns
from support.small_run import small_config

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export.litert.trained import KEY, as_meta, trained_ranges
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import exportable, input_of
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.runtime.sessions import open_session
from mbv1_backbone.training import evaluate, load_config, qat, read_checkpoint, train, use_qat
from mbv1_backbone.training.fake_quant import FakeQuantisation, Stage
from mbv1_backbone.weights import write_weights
from mbv1_backbone.weights.sources import local_file

FACES = 'facenet_mbv1_0.25-112_color'
SSD = 'ssd_mbv1_0.75_tf_bccd'


def values_in(path, names, image):
    """What tensors of a LiteRT file stand for on an image, with the steps in which they are stored."""
    interpreter = Interpreter(str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image[None])
    interpreter.invoke()
    found = {details['name']: details for details in interpreter.get_tensor_details()}
    values = []
    for name in names:
        step, zero_point = found[name]['quantization']
        stored = interpreter.get_tensor(found[name]['index'])[0].astype(np.float32)
        values.append(((stored - zero_point) * step, step))
    return values


@torch.no_grad()
def test_a_rounded_ssd_computes_what_its_file_does(tmp_path, shared):
    network = resolve(SSD)
    graph, spec = exportable(network, 'int8')
    paths = find_images([str(shared / 'bccd' / 'JPEGImages')])[:3]
    images = np.stack([input_of(read_image(path), spec) for path in paths])
    before, last = (graph.normalise(torch.from_numpy(some)) for some in (images[:2], images[2:]))
    fake = FakeQuantisation(network.model, spec.size)
    network.model(before, mode='tensor')
    in_float = network.model(last, mode='tensor')
    fake.stage = Stage.FROZEN
    graph.ranges = fake.ranges()
    write(graph, spec, tmp_path / 's.tflite')  # no images: the ranges are there
    maps = network.model(last, mode='tensor')
    files = values_in(tmp_path / 's.tflite', ['logits', 'encoded'], images[2])
    orders = ([3, 0, 1, 2], [1, 0, 3, 2])  # the background is the first there; y before x
    moved = []
    for ours, exact, (theirs, step), order in zip(maps, in_float, files, orders, strict=True):
        flat, right = (
            np.concatenate([m.permute(0, 2, 3, 1).reshape(-1, len(order)).numpy() for m in some])[:, order]
            for some in (ours, exact)
        )
        distance = np.abs(flat - theirs) / step
        assert distance.mean() < 0.5
        assert np.quantile(distance, 0.99) < 2.5
        moved.append(np.abs(right - flat).mean() / step)
    assert min(moved) > 0.2  # rounding does something


@pytest.fixture
def faces(shared):
    """Sixteen photographs of faces as the network sees them, uint8 (16, 112, 112, 3)."""
    spec = exportable(resolve(FACES)).spec
    paths = find_images([str(shared / 'lfw_color' / 'images')])[::150][:16]
    return np.stack([input_of(read_image(path), spec) for path in paths])


@torch.no_grad()
@pytest.mark.parametrize('gray', [False, True])
def test_a_rounded_embedder_computes_what_its_file_does(tmp_path, faces, gray):
    graph, spec = exportable(resolve(FACES), 'int8')
    graph.normalise.gray = gray
    fake = FakeQuantisation(graph.model, spec.size)
    [exact] = graph(torch.from_numpy(faces))
    fake.stage = Stage.FROZEN
    graph.ranges = fake.ranges()
    write(graph, spec, tmp_path / 'e.tflite')
    seen = []
    watch = graph.model.head.fc.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    graph(torch.from_numpy(faces[:1]))
    watch.remove()
    [(theirs, step)] = values_in(tmp_path / 'e.tflite', ['head.fc/output'], faces[0])
    distance = np.abs(seen[0].numpy().ravel() - theirs.ravel()) / step
    assert distance.mean() < 0.5
    assert distance.max() < 2.5
    assert not torch.equal(graph(torch.from_numpy(faces))[0], exact)
    del graph.ranges.ranges['pooled']
    with pytest.raises(InputError, match='of another network: it has no range of pooled'):
        write(graph, spec, tmp_path / 'other.tflite')


@DATASETS.register_module()
class Faces(torch.utils.data.Dataset):
    """Photographs of nobody in particular."""

    metainfo = dict(classes=())
    images = None

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return dict(inputs=self.images[index], data_samples=BaseDataElement())


@pytest.fixture
def config(tmp_path, faces, monkeypatch):
    """Makes the config of a run of some epochs, two steps each, from a trained embedder."""
    monkeypatch.setattr(Faces, 'images', torch.from_numpy(faces).permute(0, 3, 1, 2).flip(1))  # B, G, R

    def make(epochs, **changes):  # None: as many as --qat has by itself
        loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True))
        cfg = load_config(FACES)
        cfg.model.losses = ()
        changes = {
            'work_dir': str(tmp_path / 'run'),
            'train_dataloader': dict(_delete_=True, **loader, dataset=dict(type='Faces')),
            'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=epochs or 60),
            'optim_wrapper': dict(type='OptimWrapper', optimizer=dict(_delete_=True, type='AdamW', lr=3e-5)),
            'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', interval=1),
            'custom_hooks': [],
            'randomness': dict(seed=0),
            **changes,
        }
        cfg.merge_from_dict(changes)
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        use_qat(cfg, FACES, True, ['train_cfg.max_epochs', 'optim_wrapper'] if epochs else [])
        return cfg

    return make


def test_a_fine_tuned_network_loses_less_in_int8(tmp_path, faces, config):
    train(config(12))
    right = exportable(resolve(FACES)).graph(torch.from_numpy(faces))[0].detach().numpy()
    lost = []
    for number, network in enumerate((resolve(FACES), resolve(tmp_path / 'run' / 'epoch_12.pth'))):
        path = tmp_path / f'{number}.tflite'
        write(*exportable(network, 'int8'), path, faces if number == 0 else ())
        lost.append(1 - (open_session(path).run(faces)[0] * right).sum(1).mean())
    assert lost[1] < 0.9 * lost[0], lost


def test_ranges_stay_at_the_end_and_go_on_when_resumed(tmp_path, config, monkeypatch):
    def ranges(epoch):
        path = tmp_path / 'run' / f'epoch_{epoch}.pth'
        return trained_ranges(read_checkpoint(path).meta, path).ranges

    train(config(4))
    assert ranges(2) != ranges(1)
    assert ranges(4) == ranges(3) == ranges(2)  # the last half
    second = ranges(2)
    cfg = config(8)
    cfg.resume, cfg.load_from = True, str(tmp_path / 'run' / 'epoch_2.pth')
    teachers = []
    forward = qat._Distilled.__init__
    monkeypatch.setattr(
        qat._Distilled, '__init__', lambda self, *given: (teachers.append(given[1]), forward(self, *given))[1]
    )
    train(cfg)
    weight = 'backbone.rows.13.pointwise.conv.weight'
    assert torch.equal(teachers[0].state_dict()[weight], read_checkpoint(local_file(FACES)).state[weight])
    third = ranges(3)
    assert third != second
    near = [abs(third[name][1] / bounds[1] - 1) for name, bounds in second.items() if bounds[1]]
    assert max(near) < 0.05  # two steps of the moving average; measured anew they would not be
    assert ranges(8) == ranges(4)


@METRICS.register_module()
class FirstValues(BaseMetric):
    """The first number of each embedding."""

    def process(self, data_batch, data_samples):
        self.results += [float(sample['embedding'][0]) for sample in data_samples]

    def compute_metrics(self, results):
        return {str(place): value for place, value in enumerate(results)}


def test_evaluation_is_of_the_rounded_network_and_says_so(tmp_path, config, capsys):
    train(config(None))  # the length and the rates that --qat has by itself
    found = {}
    for name in (FACES, str(tmp_path / 'run' / 'epoch_3.pth')):
        cfg = config(None)
        cfg.test_dataloader = dict(
            batch_size=8,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='Faces'),
        )
        cfg.test_cfg, cfg.test_evaluator = {}, dict(type='FirstValues')
        found[name] = list(evaluate(cfg, name).values())
        assert ('trained for int8, and evaluated as rounded to it' in capsys.readouterr().out) == (
            name != FACES
        )
    network = resolve(tmp_path / 'run' / 'epoch_3.pth')
    graph, spec = exportable(network, 'int8')
    write(graph, spec, tmp_path / 'e.tflite')
    file = open_session(tmp_path / 'e.tflite').run(Faces.images.flip(1).permute(0, 2, 3, 1).numpy())[0]
    np.testing.assert_allclose(found[network.name], file[:, 0], atol=0.02)


def test_published_weights_keep_their_ranges(tmp_path):
    model, path = embedders.build(), tmp_path / 'e.safetensors'
    fake = FakeQuantisation(model, (64, 64))
    model((torch.from_numpy(patterns(8)).permute(0, 3, 1, 2) - 110.0) / 60)
    about = as_meta(fake.ranges())
    write_weights(replace(embedders.published(embedders.build()), quantisation=about), path)
    found = trained_ranges(read_checkpoint(path).meta, path)
    assert found == fake.ranges()
    assert exportable(resolve(path), 'int8').graph.ranges == found


@pytest.mark.parametrize(
    ('about', 'message'),
    [
        (dict(ranges=dict(pooled=[1.0, -1.0])), r'c\.pth: its range of pooled is none: \[1\.0, -1\.0\]'),
        (dict(ranges=dict(pooled=[0.0, float('nan')])), r'c\.pth: its range of pooled is none'),
        (dict(ranges=[3]), r'c\.pth: what it says of its quantisation is damaged'),
        (7, r'c\.pth: what it says of its quantisation is damaged'),
    ],
)
def test_damaged_ranges_are_refused(about, message):
    with pytest.raises(InputError, match=message):
        trained_ranges({KEY: about}, 'c.pth')


def test_the_rate_is_overridden_alone():
    cfg = load_config(FACES, {'optim_wrapper.optimizer.lr': 1e-4})
    use_qat(cfg, FACES, overridden=['optim_wrapper.optimizer.lr'])
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-4, weight_decay=0.0)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max) == (3, 3)
    assert cfg.custom_hooks[-1] == dict(type='QuantiseHook', checkpoint=FACES, distill=False)


def test_what_cannot_be_fine_tuned_is_refused(config, tmp_path):
    ssd = load_config('ssd_mbv1_bccd')
    with pytest.raises(InputError, match='--distill is for classifiers and embedders'):
        use_qat(ssd, SSD, distill=True)
    with pytest.raises(InputError, match=r'none\.pth'):
        use_qat(ssd, tmp_path / 'none.pth')
    with pytest.raises(InputError, match='is in float32, not bfloat16'):
        train(config(1, **{'optim_wrapper.type': 'BFloat16OptimWrapper'}))
    people = config(1, **{'custom_hooks': []})
    people.model.losses = dict(type='ArcFaceLoss', num_classes=3)
    people.custom_hooks[-1].distill = False
    with pytest.raises(InputError, match=r'has no losses\.0\.\S+, without which its losses would begin anew'):
        train(people)
    points = small_config(tmp_path / 'points', custom_hooks=[dict(type='QuantiseHook')])
    with pytest.raises(InputError, match='Line: quantisation-aware training is of classifiers'):
        train(points)
    other = embedders.build()
    for row in other.backbone.rows.values():
        for module in row.modules():
            if hasattr(module, 'act'):
                module.act = torch.nn.GELU()
    with pytest.raises(InputError, match='hold ReLU, ReLU6 and LeakyReLU, not GELU'):
        FakeQuantisation(other, (64, 64))
