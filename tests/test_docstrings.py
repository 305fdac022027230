"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import mbv1_backbone

PACKAGE = Path(mbv1_backbone.__file__).parent
WITH_EXAMPLES = [
    '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__')
    for path in sorted(PACKAGE.rglob('*.py'))
    if '>>> ' in path.read_text()
]


@pytest.mark.parametrize('name', WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted or '+SKIP' in Path(module.__file__).read_text()  # what needs a download


def test_examples_are_found():
    assert len(WITH_EXAMPLES) >= 10
