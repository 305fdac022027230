"""Teachers are run on the blended face that the student sees, and give what their own runtime gives."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from support.people import draw_people
from torch import nn

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face import FaceDataset
from mbv1_backbone.face.teachers import NcnnTeacher, OnnxTeacher, TorchScriptTeacher


class Means(nn.Module):
    """Brightness of each channel, and of each half."""

    def forward(self, x):
        return torch.cat([x.mean((2, 3)), x[..., : x.shape[3] // 2].mean((1, 2, 3))[:, None]], 1)


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def wanted(image, mean=100.0, std=50.0):
    rgb = torch.from_numpy((image[..., ::-1].astype(np.float32) - mean) / std).permute(2, 0, 1)[None]
    return Means()(rgb)[0].numpy()


def script(path):
    torch.jit.script(Means()).save(str(path))
    return TorchScriptTeacher(str(path), size=64, mean=100.0, std=50.0)


def onnx_file(path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from onnx import TensorProto, helper, numpy_helper

    half = np.zeros((1, 1, 1, 64), np.float32)
    half[..., :32] = 2 / 1
    nodes = [
        helper.make_node('ReduceMean', ['x'], ['m'], axes=[2, 3], keepdims=0),
        helper.make_node('Mul', ['x', 'half'], ['h']),
        helper.make_node('ReduceMean', ['h'], ['n'], axes=[1, 2, 3], keepdims=0),
        helper.make_node('Unsqueeze', ['n', 'axis'], ['u']),
        helper.make_node('Concat', ['m', 'u'], ['y'], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        'means',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(half, 'half'), numpy_helper.from_array(np.array([1]), 'axis')],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8), path)
    return OnnxTeacher(str(path), size=64, mean=100.0, std=50.0)


@pytest.mark.parametrize('make', [script, onnx_file])
def test_a_teacher_gives_what_its_network_gives(make, image, tmp_path):
    results = make(tmp_path / 'teacher.bin')({'img': image})
    assert results['teacher'].dtype == np.float32
    assert np.allclose(results['teacher'], wanted(image), atol=1e-4)


def test_a_teacher_that_is_known_is_not_run(image, tmp_path):
    results = script(tmp_path / 't.pt')({'img': image, 'teacher': np.ones(2)})
    assert results['teacher'].tolist() == [1, 1]


def test_blended_faces_are_judged_anew(tmp_path):
    people = draw_people(tmp_path)
    names = sorted(path.name for path in people.rglob('*.jpg'))
    np.savez(people / 't.npz', files=names, embeddings=np.full((24, 4), 9.0))
    teacher = script(tmp_path / 't.pt')
    steps = [dict(type='LoadFace', size=64), dict(type='BlendFaces', prob=0.5, size=64), teacher]
    data = FaceDataset(data_root=str(people), teacher_file='t.npz', partners=True, pipeline=steps)
    np.random.seed(0)
    seen = [data[i] for i in range(24)]
    stored = [(sample['teacher'] == 9).all() for sample in seen]
    assert 4 < sum(stored) < 20
    for sample, known in zip(seen, stored, strict=True):
        if not known:
            assert np.allclose(sample['teacher'], wanted(sample['img']), atol=1e-4)


def test_the_view_is_zoomed_and_shifted(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :16] = 255
    whole = script(tmp_path / 'a.pt')({'img': image})['teacher']
    torch.jit.script(Means()).save(str(tmp_path / 'b.pt'))
    zoomed = TorchScriptTeacher(str(tmp_path / 'b.pt'), size=64, mean=100.0, std=50.0, scale=2.0)
    assert whole[0] > -1
    assert zoomed({'img': image})['teacher'][0] == pytest.approx(-2, abs=0.1)


def test_what_is_no_teacher(tmp_path, image):
    with pytest.raises(InputError, match=r'none\.pt: no such file'):
        TorchScriptTeacher(str(tmp_path / 'none.pt'))
    (tmp_path / 'text').write_text('text')
    for kind, name in ((TorchScriptTeacher, 'TorchScript'), (OnnxTeacher, 'ONNX'), (NcnnTeacher, 'ncnn')):
        pytest.importorskip({'ncnn': 'ncnn', 'ONNX': 'onnxruntime'}.get(name, 'torch'))
        with pytest.raises(InputError, match=f'not an? {name} network'):
            kind(str(tmp_path / 'text'))({'img': image})


def test_the_shared_teacher_run_here_agrees_with_its_stored_embeddings(shared):
    pytest.importorskip('ncnn')
    teacher = NcnnTeacher(
        str(shared / 'weights' / 'mobilefacenet_ncnn' / 'MobileFaceNet.param'),
        mean=0,
        std=1,
        scale=1.18,
        shift=(0.0, 0.05),
    )
    data = FaceDataset(
        data_root=str(shared / 'lfw'),
        identities_file='dev_identities.txt',
        teacher_file='teacher_dev.npz',
        pipeline=[dict(type='LoadFace', size=160)],
    )
    run_here = Compose([teacher])
    cosines = []
    for index in range(0, 400, 10):
        sample = data[index]
        stored = sample.pop('teacher')
        mine = run_here(sample)['teacher']
        cosines.append(mine @ stored / np.linalg.norm(mine) / np.linalg.norm(stored))
    assert np.mean(cosines) > 0.93  # its own alignment is by landmarks, ours a fixed square
