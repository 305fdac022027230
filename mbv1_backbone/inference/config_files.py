"""The files that a config is made of, told from their text, without mmengine."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.resources import find_config

_VARIABLE = re.compile(r'\{\{(?!\s*_base_)')  # mmengine's, of the environment or of the file's place
_TRUSTED = ('mbv1_backbone', 'mmdet', 'mmpretrain')  # whose versions are known


def config_files(config: Path) -> list[Path] | None:
    """A config and its bases, all of them, in a fixed order.

    Args:
        config: File.

    Returns:
        None where the text does not tell all that the config depends on: it imports something, has code of a
        user's own (``custom_imports``), takes variables from the environment, or a base is missing.
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
    try:
        text = path.read_text()
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return None
    if _VARIABLE.search(text):
        return None
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.With | ast.Import | ast.ImportFrom):
            return None
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        constants = [n.value for n in ast.walk(statement.value) if isinstance(n, ast.Constant)]
        strings = [value for value in constants if isinstance(value, str)]
        if statement.targets[0].id == '_base_':
            if not isinstance(statement.value, ast.Constant | ast.List | ast.Tuple):
                return None
            names += strings
        if statement.targets[0].id == 'custom_imports':
            modules = [s for s in strings if s not in ('imports', 'allow_failed_imports')]
            if any(module.partition('.')[0] not in _TRUSTED for module in modules):
                return None
    try:
        bases = [_base(path, name) for name in names]
    except InputError:
        return None
    return None if None in bases else [base for base in bases if base is not None]


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
