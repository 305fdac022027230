"""What a type checker sees of load()."""

import pytest
from mypy import api

PROGRAM = """
from typing_extensions import assert_type

from mbv1_backbone import load
from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.inference import Classifier, Detector, FaceEmbedder, FeatureExtractor


def program(finder: FaceFinder) -> None:
    assert_type(load('x', kind='detector'), Detector)
    assert_type(load('x', 'y.pth', kind='embedder', finder=finder), FaceEmbedder)
    assert_type(load('x', kind='classifier', backend='torch'), Classifier)
    assert_type(load('x', kind='backbone', threads=2), FeatureExtractor)
    assert_type(load('x', finder=finder), FaceEmbedder)
    assert_type(load('x'), Detector | FaceEmbedder | Classifier | FeatureExtractor)
"""
WRONG = """
from mbv1_backbone import load

load('x', kind='detector').embed('a.jpg')
load('x', kind='face')
"""


@pytest.mark.slow
def test_a_kind_is_a_type(tmp_path):
    (tmp_path / 'right.py').write_text(PROGRAM)
    (tmp_path / 'wrong.py').write_text(WRONG)
    options = ['--config-file', 'pyproject.toml', '--cache-dir', str(tmp_path / 'cache')]
    report, errors, _ = api.run([*options, str(tmp_path / 'right.py'), str(tmp_path / 'wrong.py')])
    assert errors == ''
    found = [line for line in report.splitlines() if 'error:' in line]
    assert [line.partition(':')[0].rpartition('/')[2] for line in found] == ['wrong.py'] * 2, report
    assert '"Detector" has no attribute "embed"' in found[0]
    assert 'No overload variant of "load" matches' in found[1]
