import itertools
import math

import pytest
import torch

from mbv1_backbone.detection import MobileSSDAnchorGenerator


def independent_anchors(size, maps):
    """Every box by loops, in TensorFlow's order, from the published numbers."""
    scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    boxes = []
    for level, n in enumerate(maps):
        if level == 0:
            kinds = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
        else:
            kinds = [(scales[level], r) for r in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            kinds.append((math.sqrt(scales[level] * scales[level + 1]), 1.0))
        for row, column in itertools.product(range(n), range(n)):
            for scale, ratio in kinds:
                width, height = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
                x, y = (column + 0.5) / n, (row + 0.5) / n
                boxes.append([(x - width / 2), (y - height / 2), (x + width / 2), (y + height / 2)])
    return torch.tensor(boxes, dtype=torch.float64) * size


@pytest.mark.parametrize(
    ('size', 'maps', 'total'),
    [(300, (19, 10, 5, 3, 2, 1), 1917), (320, (20, 10, 5, 3, 2, 1), 2034), (192, (12, 6, 3, 2, 1, 1), 738)],
)
def test_anchors_equal_an_independent_computation(size, maps, total):
    generator = MobileSSDAnchorGenerator(size)
    anchors = torch.cat(generator.grid_priors([(n, n) for n in maps]))
    assert anchors.shape == (total, 4)
    torch.testing.assert_close(anchors.double(), independent_anchors(size, maps), atol=1e-4, rtol=0)
    assert generator.num_base_priors == [3, 6, 6, 6, 6, 6]


def test_a_wide_input_scales_boxes_by_its_sides():
    generator = MobileSSDAnchorGenerator((160, 320))
    first = generator.grid_priors(generator.map_sizes)[0][0]
    torch.testing.assert_close(first, torch.tensor([8 - 16, 8 - 8, 8 + 16, 8 + 8.0]))


def test_every_anchor_of_the_network_is_valid():
    generator = MobileSSDAnchorGenerator(300)
    assert all(flags.all() for flags in generator.valid_flags(generator.map_sizes, (300, 300), 'cpu'))


def test_another_input_is_refused():
    with pytest.raises(ValueError, match=r'input \(300, 300\) need maps of .* got \[\(20, 20\)'):
        MobileSSDAnchorGenerator(300).grid_priors([(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)])


@pytest.mark.parametrize('scales', [(0.0, 0.9), (0.5, 0.5), (0.9, 0.2), (0.2, 1.1)])
def test_bad_scales_are_refused(scales):
    with pytest.raises(ValueError, match='0 < min_scale < max_scale <= 1, got'):
        MobileSSDAnchorGenerator(300, min_scale=scales[0], max_scale=scales[1])
