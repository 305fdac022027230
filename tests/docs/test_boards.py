"""The script for boards, run as it stands on the page, without anything that a board has not."""

import ast
import json
import re

import cv2
import numpy as np
import pytest
from support.project import ROOT

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import exportable
from mbv1_backbone.inference.resolve import resolve

WITHOUT = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmdet', 'cv2', 'PIL', 'tflite', 'mbv1_backbone'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope='module')
def script():
    page = (ROOT / 'docs' / 'boards.md').read_text()
    [found] = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    return found


def test_the_script_for_boards_sees_what_mbv1_detect_sees(tmp_path, shared, run, script):
    (tmp_path / 'detect.py').write_text(script)
    graph, spec = exportable(resolve('ssd_mbv1_0.75_tf_bccd'))
    write(graph, spec, tmp_path / 'cells.tflite')
    picture = find_images([str(shared / 'bccd' / 'JPEGImages')])[0]
    np.save(tmp_path / 'frame.npy', read_image(picture))
    names = ('detect.py', 'cells.tflite', 'frame.npy')
    lines = run('-c', WITHOUT, *(str(tmp_path / name) for name in names)).stdout.strip().splitlines()
    out = tmp_path / 'found'
    assert main(['detect', str(tmp_path / 'cells.tflite'), str(picture), '--out-dir', str(out)]) == 0
    wanted = json.loads((out / 'detections.json').read_text())
    assert len(lines) == len(wanted) > 5
    limits = np.tile(np.load(tmp_path / 'frame.npy').shape[1::-1], 2)
    for line, one in zip(lines, wanted, strict=True):
        name, shown, *corners = line.split()
        assert name == spec.classes[spec.category_ids.index(one['category_id'])]
        assert abs(float(shown) - one['score']) < 0.006  # two digits are shown
        x, y, width, height = one['bbox']
        found = np.array(corners, float).clip(0, limits)
        np.testing.assert_allclose(found, (x, y, x + width, y + height), rtol=0, atol=0.6)


@pytest.mark.parametrize(
    ('sizes', 'most'), [(((480, 640), (300, 300)), 0), (((100, 37), (64, 300)), 1), (((1, 1), (5, 7)), 0)]
)
def test_the_script_resizes_as_opencv(script, sizes, most):
    """An SSD's scores of unsure boxes change by .1 where pixels are a level brighter."""
    body = [node for node in ast.parse(script).body if getattr(node, 'name', '') in ('between', 'resized')]
    names = {'np': np}
    exec(compile(ast.Module(body, []), 'detect.py', 'exec'), names)
    (height, width), (rows, columns) = sizes
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = names['resized'](image, rows, columns)
    assert found.dtype == np.uint8
    wanted = cv2.resize(image, (columns, rows)).astype(int)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=most)
    assert np.mean(found != wanted) < 0.01
