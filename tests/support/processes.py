"""Exported classifiers in other processes: forked ones, and those that they are pickled for."""

import pickle
import subprocess
import sys

import numpy as np

from mbv1_backbone import load
from support.plain_graphs import patterns

_IN_A_FORK = (
    'import os, sys; import numpy as np; from mbv1_backbone import load; '
    'network = load(sys.argv[1], threads=2); image = np.full((64, 64, 3), 9, np.uint8); '
    'image[:30] = 200; before = network.classify(image); child = os.fork()\n'
    'if child == 0: os._exit(0 if np.allclose(network.classify(image), before) else 3)\n'
    'assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0'
)


def check_other_processes(path, env=None):
    """A classifier's file of 64 pixels runs when pickled and in a fork: the loaded one, the fork's words."""
    classify = load(path, kind='classifier', threads=2, mode='throughput')
    images = [*patterns(5)]
    before = classify.classify(images)
    again = pickle.loads(pickle.dumps(classify.network))
    np.testing.assert_array_equal(again.run(np.stack(images))[0], before)
    command = [sys.executable, '-c', _IN_A_FORK, str(path)]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return classify, done.stderr
