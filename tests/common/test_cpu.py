"""The processor's precision, and the variable that answers for it."""

import os

import pytest

from mbv1_backbone.common import cpu
from mbv1_backbone.common.errors import InputError


@pytest.mark.parametrize(
    ('flags', 'fast'),
    [((), False), (('avx2', 'avx512f'), False), (('avx512_bf16',), True), (('amx_bf16',), True)],
)
def test_flags_decide(flags, fast, monkeypatch):
    monkeypatch.delenv('MBV1_CPU_BF16', raising=False)
    monkeypatch.setattr(cpu, 'cpu_flags', lambda: frozenset(flags))
    assert cpu.bf16_is_fast() is fast


@pytest.mark.parametrize(('answer', 'fast'), [('0', False), ('1', True)])
def test_the_variable_answers_instead(answer, fast, monkeypatch):
    monkeypatch.setenv('MBV1_CPU_BF16', answer)
    monkeypatch.setattr(cpu, 'cpu_flags', lambda: frozenset([] if fast else ['avx512_bf16']))
    assert cpu.bf16_is_fast() is fast


def test_any_other_answer_is_refused(monkeypatch):
    monkeypatch.setenv('MBV1_CPU_BF16', 'yes')
    with pytest.raises(InputError, match="MBV1_CPU_BF16 must be 0 or 1, got 'yes'"):
        cpu.bf16_is_fast()


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='processes cannot be bound to cores here')
def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert cpu.cores() == len(allowed)
    os.sched_setaffinity(0, [min(allowed)])
    try:
        assert cpu.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
