"""Networks in other processes: pickled, and forked."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from mbv1_backbone import load
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.runtime.sessions import Session, open_session

FACES = 'facenet_mbv1_0.25-112_color'
SSD = 'ssd_mbv1_0.75_tf_bccd'
BACKENDS = ['torch', 'onnxruntime', 'openvino']


def image():
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)


def whole_image(array):
    return Faces(np.array([[0, 0, *array.shape[1::-1]]], np.float32), np.ones(1, np.float32))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('cache', [True, False])
def test_an_embedder_is_pickled_with_its_finder(backend, cache):
    finder = FaceFinder(whole_image, 'all')
    embedder = load(FACES, backend=backend, precision='fp32', finder=finder, cache=cache)
    again = pickle.loads(pickle.dumps(embedder))
    assert again.fingerprint == embedder.fingerprint
    assert (again.backend, again.preprocessing) == (embedder.backend, embedder.preprocessing)
    np.testing.assert_allclose(again.embed(image()).vectors, embedder.embed(image()).vectors, atol=1e-5)


def test_a_pickled_network_is_opened_from_another_folder(tmp_path, monkeypatch):
    path = tmp_path / 'here' / 'e.onnx'
    path.parent.mkdir()
    made = load(FACES, backend='onnxruntime').network
    path.write_bytes(made_of(made).read_bytes())
    monkeypatch.chdir(path.parent)
    pickled = pickle.dumps(load('e.onnx', backend='onnxruntime'))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickled).fingerprint == made.spec.fingerprint


def made_of(session):
    """The file that is kept of a session's export."""
    from mbv1_backbone.inference import cache

    return cache.find(cache.export_key(session.path))


def test_a_network_that_changed_meanwhile_is_refused(tmp_path):
    path = tmp_path / 'e.onnx'
    path.write_bytes(made_of(load(FACES, backend='onnxruntime').network).read_bytes())
    pickled = pickle.dumps(open_session(path, 'onnxruntime'))
    other = load('facenet_mbv1_1.0-160_color', backend='onnxruntime').network
    path.write_bytes(made_of(other).read_bytes())
    with pytest.raises(InputError, match=r'e\.onnx: has changed since the network was pickled'):
        pickle.loads(pickled)


def test_a_session_that_cannot_be_opened_again_says_so(tmp_path):
    spec = load(FACES, backend='onnxruntime').network.spec
    session = Session(tmp_path, spec, 'none', 'fp32', lambda images: ())
    with pytest.raises(TypeError, match='cannot be pickled: nothing says how to open it again'):
        copy.copy(session)


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['torch', 'onnxruntime'])
def test_a_detector_is_pickled(backend):
    detector = load(SSD, kind='detector', backend=backend, precision='fp32')
    again = pickle.loads(pickle.dumps(detector))
    [one], [other] = detector.detect(image()), again.detect(image())
    assert again.classes == detector.classes
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


FORKED = """
import os, sys
import numpy as np
import torch
torch.set_num_threads(2)
from mbv1_backbone import load
network = load(sys.argv[1], backend=sys.argv[2], precision='fp32', finder=None)
image = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
answer = lambda: network.embed(image).vectors
before = answer()
child = os.fork()
if child == 0:
    os._exit(0 if np.allclose(answer(), before, atol=1e-4) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.allclose(answer(), before, atol=1e-4)
assert torch.get_num_threads() == 2
"""


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_forked_process_answers_too(backend):
    """PyTorch's threads are not there in it, and it would wait for them for ever."""
    done = subprocess.run(
        [sys.executable, '-c', FORKED, FACES, backend], timeout=180, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


QUIET = """
import sys, threading
from mbv1_backbone.runtime import engines, open_session

for backend in ('onnxruntime', 'openvino'):
    open_session(sys.argv[1], backend)
assert 'openvino_telemetry' not in sys.modules
assert engines.openvino() is sys.modules['openvino']
assert engines.onnxruntime() is sys.modules['onnxruntime']
print(threading.active_count())
"""


@pytest.mark.slow
def test_runtimes_report_nothing_to_their_makers(run, tmp_path):
    """OpenVINO's would, from threads that fork; ONNX Runtime's, with a number of the machine kept at home."""
    home, file = tmp_path / 'home', tmp_path / 'e.onnx'
    home.mkdir()
    file.write_bytes(made_of(load(FACES, backend='onnxruntime').network).read_bytes())
    left_on = dict(HOME=str(home), ORT_DISABLE_TELEMETRY='')
    script = "import os; os.environ.pop('ORT_DISABLE_TELEMETRY')\n" + QUIET
    assert run('-c', script, file, env=left_on).stdout.split() == ['1']
    assert not list(home.iterdir())


ENDING = """
import signal, subprocess, sys
from mbv1_backbone.runtime import open_session

first, second = (open_session(sys.argv[1], 'openvino') for _ in range(2))
signal.signal(signal.SIGCHLD, lambda *_: None)
del first
del second
subprocess.run(['true'])
print('alive')
"""


@pytest.mark.slow
def test_a_signal_is_survived_after_sessions_that_ended_in_order(run, tmp_path):
    """OpenVINO left the process without a stack to handle it on: dead at the next Ctrl-C or child's end."""
    file = tmp_path / 'e.onnx'
    file.write_bytes(made_of(load(FACES, backend='onnxruntime').network).read_bytes())
    assert run('-c', ENDING, file).stdout == 'alive\n'
