"""The options of ``add_backend``, which decide what a network is run by."""

import pytest

from mbv1_backbone.cli.main import main
from mbv1_backbone.cli.networks import open_network
from mbv1_backbone.cli.options import Parser, add_backend
from mbv1_backbone.common.errors import InputError

FACES = 'facenet_mbv1_0.25-112_color'


def opened(*options):
    parser = Parser()
    add_backend(parser)
    return open_network(parser.parse_args(options), FACES, None, 'embedder')


@pytest.mark.parametrize('precision', ['bf16', 'fp32'])
def test_a_device_computes_in_the_precision_that_is_asked_for(precision):
    """``cpu:0`` goes the way of every device but ``cpu``."""
    assert opened('--device', 'cpu:0', '--precision', precision).backend.endswith(precision)


def test_a_device_computes_in_float32_by_itself():
    assert opened('--device', 'cpu:0').backend.endswith('fp32')


@pytest.mark.parametrize('option', [('--threads', '2'), ('--mode', 'latency'), ('--mode', 'throughput')])
def test_what_a_device_does_not_take_is_refused(option):
    with pytest.raises(InputError, match=rf'--device cpu:0 is of PyTorch, {option[0]} is for the CPU'):
        opened('--device', 'cpu:0', *option)


@pytest.mark.parametrize('name', ['mine.onnx', 'mine.safetensors'])
def test_a_file_without_its_config_is_said_to_need_one(name, tmp_path, capsys):
    """It was taken for the config, of which "only py/yml/yaml/json are supported now"."""
    (tmp_path / name).write_bytes(b'network')
    assert main(['test', str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f'{name}: not a config; an exported file and weights stand after their config' in said
