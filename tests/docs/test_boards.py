"""The script for boards, run as it stands on the page, without anything that a board has not."""

import re

import numpy as np
import torch
from support.project import ROOT

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


def test_the_script_for_boards_needs_litert_and_numpy_alone(tmp_path, shared, run):
    page = (ROOT / 'docs' / 'boards.md').read_text()
    [script] = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) <= 30
    (tmp_path / 'detect.py').write_text(script)
    network = resolve('ssd_mbv1_0.75_tf_bccd')
    graph, spec = exportable(network)
    write(graph, spec, tmp_path / 'cells.tflite')
    image = read_image(find_images([str(shared / 'bccd' / 'JPEGImages')])[0])
    np.save(tmp_path / 'frame.npy', image)
    names = ('detect.py', 'cells.tflite', 'frame.npy')
    lines = run('-c', WITHOUT, *(str(tmp_path / name) for name in names)).stdout.strip().splitlines()
    height, width = image.shape[:2]
    seen = image[np.arange(300) * height // 300][:, np.arange(300) * width // 300]
    with torch.no_grad():
        boxes, scores, labels = (o[0].numpy() for o in graph(torch.from_numpy(seen[None])))
    assert len(lines) == (scores >= 0.3).sum() > 5
    for line, box, score, label in zip(lines, boxes, scores, labels, strict=False):
        name, shown, *corners = line.split()
        assert (name, float(shown)) == (network.classes[label], round(float(score), 2))
        found = np.array(corners, float).clip(0, [width, height] * 2)
        np.testing.assert_allclose(found, box * np.tile([width / 300, height / 300], 2), atol=1)
