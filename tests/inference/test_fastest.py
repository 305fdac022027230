"""What runs a network fastest is measured once, kept, and never less exact for nothing."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference import fastest
from mbv1_backbone.runtime.sessions import Session
from mbv1_backbone.runtime.spec import ModelSpec

SPEC = ModelSpec('embedder', (32, 32), 'fp32', 'f' * 64, {}, dims=4)


class Machine:
    """Runtimes that take as long as they are told, in milliseconds."""

    def __init__(self):
        self.takes, self.runs, self.now, self.opened = {}, 0, 0.0, []

    def open_session(self, path, backend='auto', threads=None, mode='latency', precision='auto'):
        int8 = Path(path).suffix == '.xml'
        self.opened.append(Path(path).name)
        if int8 and Path(path).with_suffix('.bin').read_text() == 'damaged':
            raise InputError(f'{path}: damaged')
        backend = 'openvino' if backend == 'auto' else backend
        fast = precision == 'auto' and backend == 'openvino' and fastest.bf16_is_fast()
        computed = 'int8' if int8 else 'bf16' if fast or precision == 'bf16' else 'fp32'

        def run(images):
            self.runs += 1
            self.now += self.takes[f'{backend} {computed}'] / 1000
            return (np.zeros((len(images), 4)),)

        spec = replace(SPEC, precision='int8') if int8 else SPEC
        return Session(Path(path), spec, f'{backend} 1.0', computed, run)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('MBV1_CPU_BF16', '1')
    monkeypatch.delenv('MBV1_MEASURE')
    made = Machine()
    monkeypatch.setattr(fastest, 'open_session', made.open_session)
    monkeypatch.setattr(fastest, 'onnx_spec', lambda path: SPEC)
    monkeypatch.setattr(fastest, 'time', SimpleNamespace(perf_counter=lambda: made.now))
    return made


def chosen(**options):
    session = fastest.open_fastest(Path('e.onnx'), **options)
    return f'{session.backend.split()[0]} {session.precision}'


@pytest.mark.parametrize(
    ('fp32', 'other', 'bf16', 'name'),
    [
        (20, 30, 5, 'openvino bf16'),
        (20, 5, 30, 'onnxruntime fp32'),
        (20, 30, 19.5, 'openvino fp32'),  # the more exact one, of two that are as fast
    ],
)
def test_the_fastest_is_taken_and_kept(machine, capsys, fp32, other, bf16, name):
    machine.takes = {'openvino fp32': fp32, 'onnxruntime fp32': other, 'openvino bf16': bf16}
    assert chosen() == name
    told = capsys.readouterr().err
    assert told.startswith(f'fastest here, from now on: {name} (openvino fp32 ')
    assert told.count('\n') == 1
    machine.runs, machine.opened = 0, []
    assert chosen() == name
    assert (machine.runs, machine.opened) == (0, ['e.onnx'])  # compiled once
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('change', [dict(threads=1), dict(mode='throughput'), dict(backend='openvino')])
def test_another_question_is_measured_by_itself(machine, change):
    machine.takes = {'openvino fp32': 5, 'onnxruntime fp32': 30, 'openvino bf16': 30}
    assert chosen() == 'openvino fp32'
    machine.takes |= {'openvino fp32': 30, 'openvino bf16': 5}
    assert chosen() == 'openvino fp32'
    assert chosen(**change) == 'openvino bf16'


def test_the_processor_is_part_of_the_question(machine, monkeypatch):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 30, 'openvino bf16': 5}
    assert chosen() == 'openvino bf16'
    monkeypatch.setenv('MBV1_CPU_BF16', '0')  # and bfloat16 no candidate
    assert chosen() == 'openvino fp32'
    monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', 'AVX2')
    machine.runs = 0
    chosen()
    assert machine.runs > 0


def test_the_variable_forbids_or_repeats_the_measurement(machine, monkeypatch):
    machine.takes = {'openvino fp32': 5, 'onnxruntime fp32': 30, 'openvino bf16': 30}
    monkeypatch.setenv('MBV1_MEASURE', '0')
    assert chosen() == 'openvino bf16'  # by the flags
    assert machine.runs == 0
    monkeypatch.delenv('MBV1_MEASURE')
    assert chosen() == 'openvino fp32'
    machine.takes['openvino bf16'] = 1
    assert chosen() == 'openvino fp32'
    monkeypatch.setenv('MBV1_MEASURE', '1')
    assert chosen() == 'openvino bf16'
    monkeypatch.setenv('MBV1_MEASURE', 'yes')
    with pytest.raises(InputError, match="MBV1_MEASURE must be 0 or 1, got 'yes'"):
        chosen()


def test_a_precision_that_is_asked_for_is_the_one(machine):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 30, 'openvino bf16': 5}
    assert chosen(precision='fp32') == 'openvino fp32'
    assert chosen(precision='bf16') == 'openvino bf16'


def test_int8_is_taken_where_a_compared_file_of_this_network_is_kept(machine, tmp_path):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 30, 'openvino bf16': 15, 'openvino int8': 5}
    assert chosen() == 'openvino bf16'
    for name in ('e.xml', 'e.bin'):
        (tmp_path / name).write_text(name)
    int8 = replace(SPEC, precision='int8')
    fastest.keep_int8(tmp_path / 'e.xml', replace(int8, fingerprint='0' * 64))  # another network's
    assert chosen() == 'openvino bf16'
    kept = fastest.keep_int8(tmp_path / 'e.xml', int8)
    assert chosen() == 'openvino int8'
    assert chosen(precision='fp32') == 'openvino fp32'
    kept.with_suffix('.bin').write_text('damaged')
    assert chosen() == 'openvino bf16'
    machine.opened = []
    assert chosen() == 'openvino bf16'
    assert machine.opened == [kept.name, 'e.onnx']
    kept.with_suffix('.bin').write_text('e.bin')
    assert chosen() == 'openvino int8'
    kept.write_text('damaged')
    assert chosen() == 'openvino bf16'
    with pytest.raises(InputError, match=r'only \.xml files in int8 are kept for load, this is fp32'):
        fastest.keep_int8(tmp_path / 'e.xml', SPEC)


def test_a_damaged_choice_is_made_anew(machine, tmp_path):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 30, 'openvino bf16': 5}
    chosen()
    [file] = (tmp_path / 'cache' / 'fastest').iterdir()
    assert set(json.loads(file.read_text())['milliseconds']) == set(machine.takes)
    for content in ('', '[]', '{"chosen": 3}', '{"chosen": "ncnn fp16"}'):
        file.write_text(content)
        assert chosen() == 'openvino bf16'
        assert json.loads(file.read_text())['chosen'] == 'openvino bf16'


def test_where_nothing_can_be_kept_nothing_is_measured(machine, monkeypatch):
    monkeypatch.setattr(fastest, '_can_write', lambda folder: False)
    assert chosen() == 'openvino bf16'
    assert machine.runs == 0


def test_a_choice_is_taken_from_a_cache_that_cannot_be_written_to(machine, monkeypatch):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 5, 'openvino bf16': 30}
    assert chosen() == 'onnxruntime fp32'
    machine.runs = 0
    monkeypatch.setattr(fastest, '_can_write', lambda folder: False)
    assert chosen() == 'onnxruntime fp32'
    assert machine.runs == 0


def test_an_int8_file_of_the_same_weights_with_other_thresholds_is_not_taken(machine, tmp_path):
    machine.takes = {'openvino fp32': 20, 'onnxruntime fp32': 30, 'openvino bf16': 15, 'openvino int8': 5}
    for name in ('e.xml', 'e.bin'):
        (tmp_path / name).write_text(name)
    fastest.keep_int8(tmp_path / 'e.xml', replace(SPEC, precision='int8', settings='0' * 64))
    assert chosen() == 'openvino bf16'
