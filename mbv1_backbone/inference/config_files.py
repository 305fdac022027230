"""The files that a config is made of, told from their text, without mmengine."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import find_config

__all__ = ['config_files']

_VARIABLE = re.compile(r'\{\{(?!\s*_base_)')  # mmengine's, of the environment or of the file's place
_CALLS = {'dict', 'list', 'tuple', 'set', 'len', 'range', 'str', 'int', 'float'}  # that read nothing
_CODE = (ast.With, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_TRUSTED = ('mbv1_backbone', 'mmdet', 'mmpretrain')  # whose versions are known


def config_files(config: Path) -> list[Path] | None:
    """A config and its bases, all of them, in a fixed order.

    Args:
        config: File.

    Returns:
        None where the text does not tell all that the config depends on: it imports something, calls anything
        but ``dict``, ``list`` and their like, has code of a user's own (``custom_imports``), takes variables
        from the environment, or a base is missing.
    """
    found: list[Path] = []
    pending = [config]
    while pending:
        path = pending.pop().resolve()
        if path in found:
            continue
        bases = _bases(path)
        if bases is None:
            return None
        found.append(path)
        pending += bases
    return sorted(found)


def _bases(path: Path) -> list[Path] | None:
    """The files that a config names as its bases; None where the text does not tell."""
    try:
        text = path.read_text()
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return None
    if _VARIABLE.search(text) or not all(map(_tells_all, ast.walk(tree))):
        return None
    values = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    imported = values.get('custom_imports')
    if _uses(tree, 'custom_imports') != (imported is not None) or (imported and _computed(imported)):
        return None
    modules = set(_strings(imported)) - {'imports', 'allow_failed_imports'}
    named = values.get('_base_')
    literal = named is None or isinstance(named, ast.Constant | ast.List | ast.Tuple)
    if not literal or any(module.partition('.')[0] not in _TRUSTED for module in modules):
        return None
    try:
        bases = [_base(path, name) for name in _strings(named)]
    except InputError:
        return None
    return None if None in bases else [base for base in bases if base is not None]


def _tells_all(node: ast.AST) -> bool:
    """Whether a part of a config depends on nothing but the text."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _CALLS
    if isinstance(node, ast.Name):  # a name of ``_CALLS`` for something else
        return node.id not in _CALLS or isinstance(node.ctx, ast.Load)
    return not isinstance(node, _CODE)


def _uses(tree: ast.AST, name: str) -> int:
    """How often a name occurs."""
    return sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _computed(value: ast.expr) -> bool:
    """Whether a value is more than constants in dicts, lists and tuples."""
    names = (node.id for node in ast.walk(value) if isinstance(node, ast.Name))
    return any(name not in _CALLS for name in names) or any(
        isinstance(node, ast.BinOp | ast.JoinedStr) for node in ast.walk(value)
    )


def _strings(value: ast.expr | None) -> list[str]:
    constants = [node.value for node in ast.walk(value) if isinstance(node, ast.Constant)] if value else []
    return [constant for constant in constants if isinstance(constant, str)]


def _base(path: Path, name: str) -> Path | None:
    """A base's file: beside the config, or ``package::file`` among an installed package's configs."""
    package, separator, inside = name.partition('::')
    if not separator:
        return path.parent / name
    if package == 'mbv1_backbone':
        return find_config(name)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    for folder in (spec and spec.submodule_search_locations) or ():
        for configs in (Path(folder) / '.mim' / 'configs', Path(folder) / 'configs'):
            if (configs / inside).is_file():
                return configs / inside
    return None
