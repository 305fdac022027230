"""What pyproject.toml cannot say: configs, tools and model zoo go into the package as mbv1_backbone/.mim.

That is where OpenMMLab's mim and mmengine look for them. An editable install keeps using the clone's folders.

MBV1_WEIGHTS_URL: where the folder model_zoo is published. It goes before every `Weights:` of the wheel's
metafile, for `mim download`, which fetches URLs only.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CLONE = Path(__file__).resolve().parent
FOLDERS = ('configs', 'tools', 'model_zoo')


class BuildWithMim(build_py):
    """``build_py`` that copies what lies beside the package into it."""

    def run(self) -> None:
        """Build the package, then ``.mim``, from nothing."""
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / 'mbv1_backbone' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        for name in FOLDERS:
            shutil.copytree(CLONE / name, mim / name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        shutil.copy2(CLONE / 'model-index.yml', mim)
        if url := os.environ.get('MBV1_WEIGHTS_URL'):
            metafile = mim / 'model_zoo' / 'metafile.yml'
            text = metafile.read_text().replace('\n  Weights: ', f'\n  Weights: {url.rstrip("/")}/')
            metafile.write_text(text)


setup(cmdclass={'build_py': BuildWithMim})
