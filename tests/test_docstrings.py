"""The examples in docstrings give what they say."""

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
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


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
            yield node


def without_args(source: str) -> list[str]:
    """Public functions of three and more parameters whose docstring has no Args section.

    Routes of the service describe theirs where they are declared, for OpenAPI.
    """
    found = []
    for function in public_functions(ast.parse(source).body):
        taken = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names = {argument.arg for argument in taken} - {'self', 'cls'}
        marks = {ast.unparse(mark) for mark in function.decorator_list}
        described = any(re.match(r'override|typing\.overload|overload|router\.', mark) for mark in marks)
        needs_args = len(names) > 2 and not described
        if needs_args and 'Args:' not in (ast.get_docstring(function) or ''):
            found.append(function.name)
    return found


def test_public_functions_of_three_parameters_have_an_args_section():
    assert without_args('class A:\n    def f(self, a, b, c): "Does."\n    def _g(self, a, b, c): ...') == [
        'f'
    ]
    files = sorted(PACKAGE.rglob('*.py'))
    missing = {path.name: names for path in files if (names := without_args(path.read_text()))}
    assert not missing


def test_every_module_says_what_is_public():
    files = [path for path in sorted(PACKAGE.rglob('*.py')) if not path.name.startswith('__')]
    silent = [
        path.name
        for path in files
        if not any(
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'
            for node in ast.parse(path.read_text()).body
        )
        and 'def ' in path.read_text()
    ]
    assert not silent
