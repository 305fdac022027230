"""The commands and code of README and docs, run page by page as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.project import ROOT, SHARED

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
LONG = os.environ.get('MBV1_DOCS_LONG') == '1'  # make docs-long
_BLOCK = re.compile(
    r'^(?P<indent> *)(?:<!-- (?P<mark>[a-z]+)(?:: [^>]*)? -->\n(?P=indent))?'
    r'```(?P<language>bash|python)\n(?P<code>.*?)^(?P=indent)```$',
    re.DOTALL | re.MULTILINE,
)
_MARKS = {None, 'long', 'install', 'config', 'network'}
# What a page installs, tests or makes anew is what runs this test.
_INSTALLS = re.compile(r'^(pip install|make (demo|faces|test|install|bench|docs|lint))\b', re.MULTILINE)


class Block(NamedTuple):
    """A block of a page: its language, its code, and the mark in the comment above it."""

    language: str
    code: str
    mark: str | None


def blocks_of(text: str) -> list[Block]:
    """The bash and Python blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(text):
        code = re.sub(f'^{match["indent"]}', '', match['code'], flags=re.MULTILINE)
        found.append(Block(match['language'], code, match['mark']))
    return found


def runnable(block: Block) -> bool:
    """Whether a block runs here: not configs, installations and downloads; long ones when asked for."""
    if block.mark in ('config', 'network') or block.code.lstrip().startswith(('_base_', 'backbone = ')):
        return False
    if _INSTALLS.search(block.code):
        return False
    return LONG or block.mark != 'long'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone, with the data that the pages name."""
    for name in ('configs', 'tools', 'model_zoo'):
        (tmp_path / name).symlink_to(ROOT / name)
    data = tmp_path / 'data'
    data.mkdir()
    for name in ('lfw', 'imagenet', 'coco', 'cards', 'dogs3', 'caltech101', 'pennfudan'):
        (data / name).symlink_to(SHARED / name)
    (data / 'weights').mkdir()
    for path in (SHARED / 'weights').iterdir():
        (data / 'weights' / path.name).symlink_to(path)
    (data / 'BCCD_Dataset').mkdir()
    (data / 'BCCD_Dataset' / 'BCCD').symlink_to(SHARED / 'bccd')
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_in_order(page: Path, clone: Path, shared: Path) -> None:
    blocks = [block for block in blocks_of(page.read_text()) if runnable(block)]
    if not blocks:
        pytest.skip('nothing to run')
    environment = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        'PYTHONPATH': f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}',
        'MBV1_CACHE': str(clone / 'cache'),
    }
    if any('data/bccd' in block.code for block in blocks):
        convert = 'mbv1 convert voc data/BCCD_Dataset/BCCD --out-dir data/bccd --splits trainval test'
        subprocess.run(['bash', '-ec', convert], cwd=clone, env=environment, check=True, capture_output=True)
    for block in blocks:
        if 'convert voc' in block.code:
            shutil.rmtree(clone / 'data' / 'bccd', ignore_errors=True)
        program = ['bash', '-euo', 'pipefail', '-c'] if block.language == 'bash' else [sys.executable, '-c']
        done = subprocess.run(
            [*program, block.code], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f'{block.code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}'


def test_marks_are_known() -> None:
    wrong = {b.mark for page in PAGES for b in blocks_of(page.read_text()) if b.mark not in _MARKS}
    assert not wrong


def test_every_block_is_found() -> None:
    for page in PAGES:
        fences = re.findall(r'^ *```(?:bash|python)$', page.read_text(), re.MULTILINE)
        assert len(blocks_of(page.read_text())) == len(fences), page


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    targets = re.findall(r'\]\((?!https?://|#)([^)#]+)', page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_readme_is_short() -> None:
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_blocks_are_read_with_their_marks() -> None:
    text = (
        'a\n\n<!-- long: an hour -->\n```bash\nx\n```\n\n1. b\n\n   ```python\n   if y:\n       z\n   ```\n'
    )
    assert blocks_of(text) == [Block('bash', 'x\n', 'long'), Block('python', 'if y:\n    z\n', None)]


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip('material')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '--site-dir', str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / 'paper' / 'index.html').is_file()
