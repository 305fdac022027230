"""ExecuTorch programs against the PyTorch models that they were made of, by ExecuTorch's own runtime.

Its packages pin others that the project's environment has newer ones of: where it is not installed, only what
is refused without it is tested; `make test-executorch` runs all.
"""

import copy
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support import embedders
from support.plain_graphs import classifier, patterns, small_ssd, ssd_spec, two_stages

from mbv1_backbone import load
from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import InputError, NotInstalledError
from mbv1_backbone.common.images import find_images
from mbv1_backbone.export import executorch_int8
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import embedder_spec
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.runtime.executorch import Suppression, about_text, sealed
from mbv1_backbone.runtime.sessions import is_exported, open_session

SSD = 'ssd_mbv1_0.75_tf_bccd'
runs = pytest.mark.skipif(find_spec('executorch') is None, reason='executorch is not installed')
pytestmark = pytest.mark.filterwarnings('ignore')  # of what PyTorch does inside itself


def answers(graph, images):
    with torch.no_grad():
        return [output.numpy() for output in graph.eval()(torch.from_numpy(images))]


@runs
def test_an_embedder_answers_as_the_pytorch_one_and_says_what_it_is(tmp_path):
    model, path = embedders.build(gray=True), tmp_path / 'e.pte'
    graph, shape = EmbedderGraph(model), (0, model.head.embedding_dims)
    write(graph, embedder_spec(model, recipe_of(model, 'test')), path)
    session, images = open_session(path), patterns(3)
    assert (session.backend.split()[0], session.precision) == ('executorch', 'fp32')
    np.testing.assert_allclose(session.run(images)[0], answers(graph, images)[0], atol=1e-4)
    assert session.run(images[:0])[0].shape == shape
    runtime = pytest.importorskip('executorch.runtime').Runtime.get()  # as another program reads it
    [said] = runtime.load_program(str(path)).load_method('mbv1').execute([])
    assert json.loads(said)['mbv1']['kind'] == 'embedder'


@runs
def test_a_classifier_runs_in_a_forked_process_and_is_pickled(tmp_path):
    graph, spec = classifier()
    write(graph, spec, tmp_path / 'c.pte')
    script = 'import sys; from support.processes import check_other_processes as check; '
    script += 'print(check(sys.argv[1])[0].network)'
    done = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path / 'c.pte')],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )  # the first program of a process says how many threads it has
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith('executorch ')
    assert '.cpp:' not in done.stderr


@runs
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_a_small_ssdlite_detects_as_the_pytorch_one(tmp_path, precision):
    model = small_ssd()
    graph = detector_graph_of(model, (128, 128))
    write(graph, ssd_spec(model, precision=precision), tmp_path / 's.pte', patterns(12, 128))
    session, images = open_session(tmp_path / 's.pte'), patterns(3, 128)
    with pytest.raises(InputError, match=r'threads in this process while files are open.*have 77'):
        open_session(tmp_path / 's.pte', threads=77)
    right, found = answers(graph, images), session.run(images)
    assert [output.shape for output in found] == [output.shape for output in right]
    assert [output.dtype for output in found] == [np.float32, np.float32, np.int64]
    if precision == 'int8':
        assert session.precision == 'int8'
        assert (tmp_path / 's.pte').stat().st_size < 0.8e6  # 1.18 MB in fp32
        return
    np.testing.assert_allclose(found[1], right[1], atol=1e-4)
    there = right[1] > 0
    np.testing.assert_allclose(found[0][there], right[0][there], atol=1e-2)
    np.testing.assert_array_equal(found[2][there], right[2][there])


@runs
@pytest.mark.slow  # two whole networks
def test_the_verb_writes_compares_and_others_take_the_file(tmp_path, shared, capsys):
    images = str(shared / 'bccd' / 'JPEGImages')
    for precision, least in (('fp32', 1), ('int8', 0.85)):
        out = tmp_path / f'{precision}.pte'
        args = ['--to', 'executorch', '--precision', precision, '--images', images, '--num', '8']
        assert main(['export', SSD, *args, '--out', str(out)]) == 0
        assert float(re.search(r'same_boxes +(\S+)', capsys.readouterr().out).group(1)) >= least
    picture = str(find_images([images])[0])
    assert main(['detect', str(out), picture, '--out-dir', str(tmp_path / 'found')]) == 0
    [ours], [found] = (load(name, kind='detector').detect([picture]) for name in (SSD, out))
    assert len(found.above(0.5)) == pytest.approx(len(ours.above(0.5)), abs=1)


def test_what_it_has_no_operator_or_precision_for_is_refused(tmp_path, monkeypatch):
    graph, spec = two_stages()
    monkeypatch.setattr('mbv1_backbone.export.executorch._tool', lambda name: None)
    with pytest.raises(InputError, match=r'ExecuTorch.*no operator for RoIAlign; export it to onnx or open'):
        write(graph, spec, tmp_path / 'f.pte')
    with pytest.raises(InputError, match=r'\.pte is written in fp32, int8; fp16 is for \.xml'):
        write(*classifier('fp16'), tmp_path / 'c.pte')
    with pytest.raises(InputError, match=r'int8 needs at least 8 images to calibrate on, got 3'):
        write(*classifier('int8'), tmp_path / 'c.pte', patterns(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec('executorch') is not None, reason='executorch is installed')
def test_without_executorch_writing_and_reading_are_one_line(tmp_path):
    with pytest.raises(NotInstalledError, match=r"pip install 'mbv1-backbone\[executorch\]'"):
        write(*classifier(), tmp_path / 'c.pte')
    (tmp_path / 'c.pte').write_bytes(b'')
    with pytest.raises(NotInstalledError, match=r"c\.pte.*pip install 'mbv1-backbone\[executorch\]'"):
        open_session(tmp_path / 'c.pte')


def test_a_bias_that_maps_share_is_not_moved_by_each_of_them():
    class Levels(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.shared = (torch.nn.Conv2d(3, 3, 1) for _ in range(2))

        def forward(self, image):
            maps = self.own(image.permute(0, 3, 1, 2).float())
            return [self.shared(level) for level in (maps, maps + 1, maps + 2)]

    images = [torch.from_numpy(image[None]) for image in patterns(2, 8)]
    network = Levels().eval()
    exact = torch.export.export(network, (images[0],), strict=False).module()
    means = executorch_int8._means(exact, images)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.own.bias += 0.5
        moved.shared.bias += 0.25
    moved = torch.export.export(moved, (images[0],), strict=False).module()
    executorch_int8._correct_biases(moved, images, means)
    torch.testing.assert_close(moved.own.bias, network.own.bias, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved.shared.bias, network.shared.bias + 0.25)


def test_a_damaged_or_foreign_file_is_refused_before_it_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr('mbv1_backbone.runtime.sessions._installed', lambda name: True)
    _, spec = classifier()
    text = about_text(spec, ('probabilities',), Suppression(0.02, 0.5, 10)).encode()
    whole = sealed(b'ET12' + len(text).to_bytes(4, 'little') + text + b'\0weights')
    path = tmp_path / 'c.pte'
    assert is_exported(path)
    for content, complaint in (
        (whole.replace(b'weights', b'weighty'), 'damaged: not what was written'),
        (whole[:-1], 'damaged: not what was written'),
        (whole.replace(b'"sha256"', b'"sha255"'), 'not a file of mbv1 export'),
        (b'', 'not a file of mbv1 export'),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf'c\.pte: {complaint}'):
            load(path)
    with pytest.raises(InputError, match=r'executorch runs \.pte files of mbv1 export --to executorch'):
        load('facenet_mbv1_0.25-112_color', backend='executorch')
