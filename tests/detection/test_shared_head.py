import pytest
import torch

from mbv1_backbone import MobileNetV1
from mbv1_backbone.detection import MobileNetV1SharedHead


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
@pytest.mark.parametrize('widen_factor', [1.0, 0.25])
def test_it_is_the_end_of_the_backbone(widen_factor, padding):
    """Row 11, then the shared head with the backbone's own weights, gives the backbone's row 13."""
    net = MobileNetV1(widen_factor, out_indices=(11, 13), padding=padding).eval()
    head = MobileNetV1SharedHead(widen_factor, padding=padding).eval()
    weights = {name: value for name, value in net.state_dict().items() if name.split('.')[1] in ('12', '13')}
    head.load_state_dict(weights)
    middle, last = net(torch.randn(1, 3, 128, 128))
    assert head.out_channels == net.taps[-1].channels
    torch.testing.assert_close(head(middle), last)


def test_regions_are_halved():
    assert MobileNetV1SharedHead(0.5)(torch.zeros(5, 256, 14, 14)).shape == (5, 512, 7, 7)


@pytest.mark.parametrize('norm_eval', [True, False])
def test_batch_norm_is_at_rest_while_training(norm_eval):
    head = MobileNetV1SharedHead(0.25, norm_eval=norm_eval).train()
    before = head.rows['12'].pointwise.bn.running_mean.clone()
    head(torch.randn(2, 128, 14, 14))
    assert torch.equal(head.rows['12'].pointwise.bn.running_mean, before) == norm_eval


@pytest.mark.parametrize('options', [dict(widen_factor=0), dict(padding='valid')])
def test_bad_values_are_refused(options):
    with pytest.raises(ValueError, match='must be'):
        MobileNetV1SharedHead(**options)
