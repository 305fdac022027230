"""Which runtime and precision runs an exported network fastest here: measured once, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv1_backbone.common.cpu import bf16_is_fast, cores, cpu_flags
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically, write_json
from mbv1_backbone.common.prefetch import map_concurrently
from mbv1_backbone.runtime.onnxruntime import onnx_spec
from mbv1_backbone.runtime.sessions import Session, check_options, files_of, open_session
from mbv1_backbone.runtime.spec import ModelSpec
from mbv1_backbone.weights.cache import cache_folder, sha256_of

__all__ = ['MEASURE_VARIABLE', 'keep_int8', 'open_fastest']

MEASURE_VARIABLE = 'MBV1_MEASURE'
_SECONDS = 1.5  # of all candidates together, beside opening them
_ROUNDS = 9
_GAIN = 1.1  # times faster than a more exact one, else that is taken
_OF_PROCESSOR = ('ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA', 'MBV1_CPU_BF16')


class _Way(NamedTuple):
    """A way to run a network."""

    path: Path
    backend: str
    precision: str

    def __str__(self) -> str:
        return f'{self.backend} {"int8" if _is_int8(self.path) else self.precision}'


def open_fastest(
    path: Path,
    backend: str = 'auto',
    threads: int | None = None,
    mode: str = 'latency',
    precision: str = 'auto',
) -> Session:
    """A session of an ``.onnx`` file in float32, by what runs it fastest on this machine.

    With ``backend`` or ``precision`` ``'auto'`` the candidates are timed in turn, for a second and a half,
    the first time that this network is opened with as many threads in this mode by these versions of the
    runtimes. The result is kept in the cache's folder, said once on standard error, and taken from then on.
    A less exact precision is taken where it is at least 1.1 times faster. OpenVINO's int8 is a candidate
    where ``keep_int8`` was given a file of this very network, whose accuracy has been compared.
    ``$MBV1_MEASURE`` 0 measures nothing: the processor's flags decide; 1 measures anew.

    Args:
        path: The file. Others than ``.onnx`` in float32 have one runtime, and are opened by it.
        backend: As ``open_session`` takes it.
        threads: Cores to use; None for all.
        mode: ``'latency'`` or ``'throughput'``.
        precision: As ``open_session`` takes it.

    Raises:
        InputError: As ``open_session``; or the variable is neither 0 nor 1.
        NotInstalledError: As ``open_session``.
    """
    answer = os.environ.get(MEASURE_VARIABLE, '')
    if answer not in ('', '0', '1'):
        raise InputError(f'{MEASURE_VARIABLE} must be 0 or 1, got {answer!r}')
    spec = onnx_spec(path) if answer != '0' and path.suffix == '.onnx' else None
    if spec is None or spec.precision != 'fp32':
        return open_session(path, backend, threads, mode, precision)
    check_options(threads, mode, precision)
    ways = _ways(path, spec, backend, precision)
    exact = [way for way in ways if not _is_int8(way.path)]
    for some in (ways, exact):
        try:
            found = _by_choice(some, spec, threads, mode, answer == '1') if len(some) > 1 else None
            break
        except InputError:
            if some == exact:
                raise  # else the int8 file is damaged, which OpenVINO tells where it opens it
    return found or open_session(path, backend, threads, mode, precision)


def _by_choice(
    ways: Sequence[_Way], spec: ModelSpec, threads: int | None, mode: str, anew: bool
) -> Session | None:
    """A session of what was chosen before, or is measured now; None where nothing can be kept.

    Args:
        ways: At least two.
        spec: Of the network.
        threads: Cores to use; None for all.
        mode: ``'latency'`` or ``'throughput'``.
        anew: Measure whatever was chosen before.
    """
    file = _choice_file(ways, spec, threads, mode)
    chosen = None if anew else _kept(file, ways)
    if chosen is not None:
        return open_session(chosen.path, chosen.backend, threads, mode, chosen.precision)
    return _measured(ways, threads, mode, file) if _can_write(file.parent) else None


def keep_int8(path: Path, spec: ModelSpec) -> Path:
    """Let ``load`` take an OpenVINO file in int8 for its network, where that is the fastest.

    Args:
        path: An ``.xml`` file of ``mbv1 export`` whose accuracy has been compared here.
        spec: What it says of itself.

    Returns:
        Its copy in the cache's folder.

    Raises:
        InputError: If it is no such file.
    """
    if path.suffix != '.xml' or spec.precision != 'int8':
        raise InputError(f'{path}: only .xml files in int8 are kept for load, this is {spec.precision}')
    kept = _int8_file(spec)
    for source, copy in zip(files_of(path), files_of(kept), strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, source.read_bytes())
    write_atomically(kept.with_suffix('.sha256'), _hashes(kept).encode())
    return kept


def _ways(path: Path, spec: ModelSpec, backend: str, precision: str) -> list[_Way]:
    """All that may run a network, from the most exact one on."""
    backends = [name for name in ('openvino', 'onnxruntime') if backend in ('auto', name) and find_spec(name)]
    precisions = ['fp32', *(['bf16'] if bf16_is_fast() else [])] if precision == 'auto' else [precision]
    ways = [
        _Way(path, name, computed)
        for computed in precisions
        for name in backends
        if name == 'openvino' or computed == 'fp32'
    ]
    int8 = _int8_file(spec)
    if precision == 'auto' and 'openvino' in backends and _is_whole(int8):
        ways.append(_Way(int8, 'openvino', 'auto'))
    return ways


def _is_int8(path: Path) -> bool:
    return path.suffix == '.xml'


def _int8_file(spec: ModelSpec) -> Path:
    """Where a network's int8 file is kept, by all that its float32 one says of itself, for this OpenVINO."""
    about = hashlib.sha256(replace(spec, precision='int8').as_text().encode()).hexdigest()[:40]
    runtime = version('openvino') if find_spec('openvino') else 'none'
    return cache_folder() / 'int8' / runtime / f'{about}.xml'


def _is_whole(path: Path) -> bool:
    """Whether a file was kept there; whether its weights are what was kept is checked where it is opened."""
    try:
        kept = path.with_suffix('.sha256').read_text().split()
        return kept[:1] == [sha256_of(path)] and all(file.is_file() for file in files_of(path))
    except OSError:
        return False


def _hashes(path: Path) -> str:
    return ' '.join(sha256_of(file) for file in files_of(path))


def _choice_file(ways: Sequence[_Way], spec: ModelSpec, threads: int | None, mode: str) -> Path:
    """Where the choice is kept: by processor, threads, runtimes, network and what it is chosen from."""
    made_of = dict(
        processor=_processor(),
        threads=threads,
        mode=mode,
        runtimes={way.backend: version(way.backend) for way in ways},
        network=spec.as_text(),
        ways=[str(way) for way in ways],
    )
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:40]
    return cache_folder() / 'fastest' / f'{name}.json'


def _processor() -> list[str]:
    """Model and instruction sets of the processor, how many cores this process has, and what limits them."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    limits = [f'{name}={os.environ.get(name, "")}' for name in _OF_PROCESSOR]
    return [*models[:1], str(cores()), *limits, *sorted(cpu_flags())]


def _can_write(folder: Path) -> bool:
    """Whether something can be kept there; where not, nothing is measured, else every start would do it."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def _kept(file: Path, ways: Sequence[_Way]) -> _Way | None:
    """What was chosen before; None where nothing was, or the file is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        name = json.loads(file.read_text())['chosen']
        return next((way for way in ways if str(way) == name), None)
    return None


def _measured(ways: Sequence[_Way], threads: int | None, mode: str, file: Path) -> Session:
    """A session of the fastest; the choice is kept, and said."""
    sessions = {way: open_session(way.path, way.backend, threads, mode, way.precision) for way in ways}
    milliseconds = {way: 1000 * seconds for way, seconds in _times(sessions).items()}
    chosen = ways[0]
    for way in ways[1:]:
        if milliseconds[chosen] > _GAIN * milliseconds[way]:
            chosen = way
    times = {str(way): round(value, 3) for way, value in milliseconds.items()}
    told = ', '.join(f'{name} {value:.3g} ms' for name, value in times.items())
    try:
        write_json(file, dict(chosen=str(chosen), milliseconds=times), indent=1)
    except OSError as error:
        logging.getLogger('mbv1_backbone').warning('%s: cannot be written (%s)', file, error.strerror)
    print(f'fastest here, from now on: {chosen} ({told}); kept in {file}', file=sys.stderr)
    return sessions[chosen]


def _times(sessions: dict[_Way, Session]) -> dict[_Way, float]:
    """The least seconds an image of each, run in turn; the first round does not count."""
    least = dict.fromkeys(sessions, float('inf'))
    images = {way: _noise(session.spec) for way, session in sessions.items()}
    begin = time.perf_counter()
    for number in range(_ROUNDS):
        for way, session in sessions.items():
            batches = [images[way]] * session.parallel
            start = time.perf_counter()
            for _ in map_concurrently(session.run, batches, session.parallel):
                pass
            if number:
                least[way] = min(least[way], (time.perf_counter() - start) / len(batches))
        if number and time.perf_counter() - begin > _SECONDS:
            break
    return least


def _noise(spec: ModelSpec) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, *spec.size, 3), dtype=np.uint8)
