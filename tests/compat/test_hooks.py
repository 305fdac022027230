"""What is done to other projects' modules when they are imported."""

import pytest

# transformers as it is since 4.56: it has PreTrainedModel, but not the helpers that mmpretrain takes.
TRANSFORMERS = {
    'transformers-5.0.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n',
    'transformers/__init__.py': '',
    'transformers/modeling_utils.py': 'class PreTrainedModel: pass\n',
}
MODELS = """
import mbv1_backbone, mmdet.models, mmpretrain.models
from mmpretrain.registry import MODELS
assert MODELS.get('VisionTransformer') and MODELS.get('MobileNetV1')
try:
    MODELS.get('BlipCaption')()
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_mmdets_models_load_beside_new_transformers(run, tmp_path):
    pytest.importorskip('mmpretrain')
    for name, text in TRANSFORMERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    script = f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n{MODELS}'
    assert 'requires extra multi-modal dependencies' in run('-c', script).stdout
