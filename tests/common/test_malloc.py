"""Large buffers that threads have freed do not stay with the process."""

import os
import subprocess
import sys

import pytest

# After a thread has freed large buffers, glibc would take the next from its heap, where a small one stays.
PROGRAM = """
import re, sys, threading
from pathlib import Path
import numpy as np
from mbv1_backbone.common.malloc import return_large_buffers

def anonymous():
    return int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024

kept = []

def work():
    for _ in range(3):
        np.ones(24 << 20, np.uint8)
    large = np.ones(20 << 20, np.uint8)
    kept.append(np.ones(1 << 14, np.uint8))

said = return_large_buffers()
before = anonymous()
for _ in range(3):
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(said, round(anonymous() - before))
"""
ON_GLIBC = sys.platform == 'linux' and 'CS_GNU_LIBC_VERSION' in os.confstr_names


def run(**more):
    """What the program says, and how many MiB it has kept."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_'))
    }
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=True,
    )
    said, kept = done.stdout.split()
    return said, int(kept)


@pytest.mark.skipif(not ON_GLIBC, reason="of glibc's allocator")
def test_large_buffers_of_threads_go_back_to_the_system():
    said, kept = run()
    assert said == 'True'
    assert kept < 20  # more than 100 without it


@pytest.mark.skipif(not ON_GLIBC, reason="of glibc's allocator")
def test_what_the_user_has_set_stays():
    said, _ = run(MALLOC_MMAP_THRESHOLD_='131072')
    assert said == 'False'
