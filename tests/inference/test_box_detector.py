"""A detector of ours as a finder of faces; the cells' SSD stands in for a face detector."""

import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.inference.box_detector import BoxDetector


def test_our_own_detectors_give_boxes(shared):
    config = 'configs/detection/ssd_mbv1_0.75_tf_bccd.py'
    cells = BoxDetector(config, 'ssd_mbv1_0.75_tf_bccd', name='WBC')
    image = read_image(next((shared / 'bccd').rglob('BloodImage_00000.jpg')))
    faces = cells(image)
    assert len(faces) >= 1
    assert faces.landmarks is None
    assert FaceFinder(cells)(image, 96)[0].shape == (96, 96, 3)
    with pytest.raises(InputError, match="has no class 'face', only Platelets, RBC, WBC"):
        BoxDetector(config, 'ssd_mbv1_0.75_tf_bccd')
