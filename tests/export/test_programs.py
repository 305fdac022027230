"""Programs of torch.export and AOTInductor against the PyTorch models that they were made of."""

import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from support import embedders
from support.plain_graphs import classifier, patterns, small_ssd, ssd_spec, taps
from support.processes import check_other_processes

from mbv1_backbone import load
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph, Graph
from mbv1_backbone.export.programs import save_program
from mbv1_backbone.export.suppression import multiclass_nms
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import embedder_spec
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.runtime.programs import program_spec
from mbv1_backbone.runtime.sessions import open_session


def answers(graph, images):
    with torch.no_grad():
        return [output.numpy() for output in graph.eval()(torch.from_numpy(images))]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp('programs') / 'c.pt2'
    graph, spec = classifier(padding='same', act_cfg=dict(type='ReLU6'))
    write(graph, spec, path)
    return path, graph


@pytest.mark.parametrize('count', [1, 2, 5])
def test_a_classifier_answers_as_the_pytorch_one(written, count):
    path, graph = written
    session, images = open_session(path), patterns(count)
    assert session.backend == f'torch.export {torch.__version__}'
    np.testing.assert_allclose(session.run(images)[0], answers(graph, images)[0], atol=2e-5)
    assert session.run(images[:0])[0].shape == (0, 10)


@pytest.mark.filterwarnings('ignore')  # of what PyTorch does inside itself
def test_other_programs_read_the_file_with_torch_alone(written):
    path, graph = written
    extra = {'mbv1': ''}
    program, images = torch.export.load(path, extra_files=extra), patterns(3)
    assert '"kind": "classifier"' in extra['mbv1']
    np.testing.assert_allclose(
        program.module()(torch.from_numpy(images))[0].detach(), answers(graph, images)[0], atol=2e-5
    )


def test_taps_and_embeddings_are_pytorchs(tmp_path):
    model = embedders.build(gray=True)
    for graph, spec in (
        taps(),
        (EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test'))),
    ):
        write(graph, spec, tmp_path / f'{spec.kind}.pt2')
        images = patterns(3, spec.size[0])
        found = open_session(tmp_path / f'{spec.kind}.pt2').run(images)
        for right, output in zip(answers(graph, images), found, strict=True):
            np.testing.assert_allclose(output, right, atol=2e-4)


def test_a_small_ssdlite_detects_as_the_pytorch_one(tmp_path):
    model = small_ssd()
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model), tmp_path / 's.pt2')
    session = open_session(tmp_path / 's.pt2')
    images = np.concatenate([patterns(4, 128), np.full((1, 128, 128, 3), 127, np.uint8)])
    for some in (images, images[:1], images[4:]):
        boxes, scores, labels = answers(graph, some)
        found = session.run(some)
        there = scores > 0
        np.testing.assert_allclose(found[1], scores, atol=1e-5)
        np.testing.assert_allclose(found[0][there], boxes[there], atol=1e-2)
        np.testing.assert_array_equal(found[2][there], labels[there])
    assert (answers(graph, images)[1] > 0).sum() > 20


@pytest.mark.filterwarnings('ignore:`create_unbacked_symint` is deprecated:FutureWarning')  # torchvision's
def test_a_program_suppresses_also_where_no_box_or_one_is_left():
    class Suppression(torch.nn.Module):
        def forward(self, boxes, scores):
            return multiclass_nms(boxes, scores, 0.1, 0.5, 5)

    boxes = torch.tensor([[[0, 0, 4, 4], [9, 9, 14, 14], [9, 9, 13, 14], [20, 0, 29, 9]]] * 2).float()
    none, many = torch.zeros(1, 4, 3), torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0))
    one = none.index_put((torch.tensor(0), torch.tensor(1), torch.tensor(2)), torch.tensor(0.7))
    any_number = ({0: torch.export.Dim('batch', min=1)},) * 2
    program = torch.export.export(Suppression(), (boxes, many), dynamic_shapes=any_number).module()
    for scores, left in ((none, 0), (one, 1), (many, 2)):
        right, found = (of(boxes[: len(scores)], scores) for of in (Suppression(), program))
        there = right[0] > 0
        assert min(int(there.sum()), 2) == left
        assert torch.equal(found[0], right[0])
        assert all(torch.equal(a[there], b[there]) for a, b in zip(found, right, strict=True))


def test_a_file_runs_in_a_forked_process_and_is_pickled(written):
    classify, _ = check_other_processes(written[0])
    assert classify.network.backend.startswith('torch.export')


def test_what_torch_export_does_not_take_is_refused(tmp_path):
    class Counted(Graph):
        outputs = ('probabilities',)

        def forward(self, images):
            return (images[: int(images.float().sum())].float(),)

    _, spec = classifier()
    with pytest.raises(
        InputError, match=r'torch\.export does not take this classifier: .*; onnx and openvino do'
    ):
        save_program(Counted(), spec, tmp_path / 'c.pt2')
    assert not list(tmp_path.iterdir())


def test_bad_files_and_wishes_are_refused(written, tmp_path):
    path, _ = written
    broken = tmp_path / 'c.pt2'
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    broken.write_bytes(content)
    with pytest.raises(InputError, match=r'c\.pt2: (damaged|not a file of mbv1 export)'):
        open_session(broken)
    with zipfile.ZipFile(broken, 'w') as archive:
        archive.writestr('c/models/model.json', '{}')
    with pytest.raises(InputError, match=r'c\.pt2: not a file of mbv1 export'):
        load(broken)
    with zipfile.ZipFile(broken, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('c/data', np.random.default_rng(0).bytes(9000).hex())
    content = bytearray(broken.read_bytes())
    content[4000:5000] = bytes(1000)  # what is packed there is no zip's any more
    broken.write_bytes(content)
    with pytest.raises(InputError, match=r'c\.pt2: not a file of mbv1 export'):
        load(broken)
    with pytest.raises(InputError, match=r'ncnn reads \.param files only'):
        open_session(path, backend='ncnn')
    with pytest.raises(InputError, match=r'mbv1 export --to torch-export'):
        load('facenet_mbv1_0.25-112_color', backend='pt2')
    with pytest.raises(InputError, match=r'\.pt2 is written in fp32; int8 is for \.onnx'):
        write(*classifier('int8'), tmp_path / 'd.pt2')
    out = str(tmp_path / 'e.aoti.pt2')
    assert main(['export', 'm', '--to', 'torch-export', '--out', out, '--images', '.']) == 2


def test_aotinductor_without_a_compiler_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(NotInstalledError, match=r'AOTInductor needs a C\+\+ compiler, none is found \('):
        write(*classifier(), tmp_path / 'c.aoti.pt2')
    assert not list(tmp_path.iterdir())


_COMPILE = """
import sys, numpy as np, torch
from pathlib import Path
from mbv1_backbone.export.graphs import ClassifierGraph, Normalise
from mbv1_backbone.export.writers import write
from mbv1_backbone.runtime.sessions import open_session
from mbv1_backbone.runtime.spec import ModelSpec
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
graph = ClassifierGraph(network, Normalise((1., 2., 3.), (4., 5., 6.)))
path = Path(sys.argv[1])
write(graph, ModelSpec('classifier', (8, 8), 'fp32', '0' * 64, {}), path)
images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
session = open_session(path, threads=1)
assert session.backend.startswith('aoti '), session.backend
for some in (images, images[:1]):
    np.testing.assert_allclose(session.run(some)[0], graph(torch.from_numpy(some))[0].detach(), atol=1e-5)
"""


@pytest.mark.slow  # most of a minute of g++
@pytest.mark.skipif(shutil.which('g++') is None, reason='AOTInductor needs g++')
def test_aotinductor_compiles_what_pytorch_answers(tmp_path):
    path = tmp_path / 'c.aoti.pt2'
    done = subprocess.run(
        [sys.executable, '-c', _COMPILE, str(path)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert program_spec(path)[1]
    elsewhere = tmp_path / 'd.aoti.pt2'
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(elsewhere, 'w') as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"x86_64"', b'"riscv64"'))
    with pytest.raises(InputError, match=r'compiled for riscv64 .*; this is'):
        open_session(elsewhere)
