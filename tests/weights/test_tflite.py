"""TFLite files: the released quantised ones and, made of them, float and per-channel ones."""

import contextlib

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.parity import compare, litert_runtime, our_runtime, read_labels
from mbv1_backbone.weights.recalibrate import build_network, normalise, recalibrate_bn, square_batches
from mbv1_backbone.weights.tflite_graph import read_graph

SMALL = 'mobilenet_v1_0.25_128_quant.tflite'
PARTS = ('mobilenet_v1_1.0_224_quant_embedding_extractor.tflite', 'mobilenet_quant_v1_224_head_layers.tflite')


def rewrite(source, target, weights):
    """Store a quantised file's network with float activations, and weights as ``weights`` stores them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(source.read_bytes(), 0))
    [graph] = model.subgraphs
    for tensor in graph.tensors:
        data, about = model.buffers[tensor.buffer].data, tensor.quantization
        if tensor.type not in (schema.TensorType.UINT8, schema.TensorType.INT32):
            continue
        if about is None or about.scale is None:
            continue  # a shape
        if data is not None and len(data):
            stored = np.frombuffer(
                bytes(data), np.uint8 if tensor.type == schema.TensorType.UINT8 else np.int32
            )
            real = (stored.astype(np.float64) - about.zeroPoint[0]) * about.scale[0]
            weights(model, tensor, real.reshape(tensor.shape).astype(np.float32))
        else:
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b'TFL3')
    target.write_bytes(builder.Output())
    return target


def as_float(model, tensor, real):
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    model.buffers[tensor.buffer].data = np.frombuffer(real.tobytes(), np.uint8)


def as_half(model, tensor, real):
    tensor.type, tensor.quantization = schema.TensorType.FLOAT16, None
    model.buffers[tensor.buffer].data = np.frombuffer(real.astype(np.float16).tobytes(), np.uint8)


def per_channel(model, tensor, real):
    """int8 with one scale an output channel, biases as floats."""
    if real.ndim == 1:
        as_float(model, tensor, real)
        return
    axis = 3 if real.shape[0] == 1 else 0  # depthwise kernels are (1, h, w, channels)
    others = tuple(i for i in range(4) if i != axis)
    scale = np.abs(real).max(axis=others) / 127 + 1e-9
    along = [-1 if i == axis else 1 for i in range(4)]
    about = schema.QuantizationParametersT()
    about.scale, about.zeroPoint = scale.astype(np.float32), np.zeros(len(scale), np.int64)
    about.quantizedDimension = axis
    tensor.type, tensor.quantization = schema.TensorType.INT8, about
    stored = np.round(real / scale.reshape(along)).astype(np.int8)
    model.buffers[tensor.buffer].data = np.frombuffer(stored.tobytes(), np.uint8)


@pytest.fixture(scope='module')
def small(shared):
    return shared / 'weights' / SMALL


@pytest.mark.slow
@pytest.mark.parametrize(
    ('names', 'width', 'floor', 'accuracy'),
    [
        ((SMALL,), 0.25, 0.80, 0.45),
        (('mobilenet_v1_0.5_160_quant.tflite',), 0.5, 0.90, 0.65),
        (('mobilenet_v1_0.75_192_quant.tflite',), 0.75, 0.90, 0.75),
        (PARTS, 1.0, 0.90, 0.85),
    ],
    ids=['0.25-128', '0.5-160', '0.75-192', '1.0-224'],
)
def test_a_released_classifier_names_what_its_own_runtime_names(shared, names, width, floor, accuracy):
    paths = [shared / 'weights' / name for name in names]
    weights = import_weights(*paths)
    files, labels = read_labels(shared / 'imagenet' / 'labels.txt', shared / 'imagenet' / 'images')
    found = compare(
        our_runtime(weights),
        litert_runtime(paths),
        square_batches(files, weights.recipe.input_size),
        [label + 1 for label in labels],
    )
    print(found)
    assert weights.recipe.widen_factor == width
    assert found.figures['same_top1'] >= floor
    assert found.figures['correlation'] >= 0.995
    assert found.figures['top1'] >= accuracy
    assert found.figures['top1'] >= found.figures['source_top1'] - 0.03


def test_a_float_file_gives_its_runtimes_logits(small, tmp_path):
    """The same network without rounding: what differs in the quantised one is its rounding."""
    path = rewrite(small, tmp_path / 'float.tflite', as_float)
    weights = import_weights(path)
    assert weights.recipe.mean == (127.5,) * 3  # a float file does not say, [-1, 1] is the convention
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), dtype=np.uint8)
    normalised = (torch.from_numpy(images).float() - 127.5) / 127.5
    ours = build_network(weights)(normalised).detach().numpy()
    theirs = litert_runtime([path])(normalised)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_half_precision_file_comes_in_too(small, tmp_path):
    full = import_weights(rewrite(small, tmp_path / 'float.tflite', as_float))
    half = import_weights(rewrite(small, tmp_path / 'half.tflite', as_half))
    for name, value in full.state.items():
        torch.testing.assert_close(half.state[name], value, rtol=1e-3, atol=1e-3)


def test_per_channel_scales_are_applied_along_their_axis(small, tmp_path):
    full = import_weights(rewrite(small, tmp_path / 'float.tflite', as_float))
    path = rewrite(small, tmp_path / 'channels.tflite', per_channel)
    coarse = import_weights(path)
    scales = {layer.weight.name: layer.weight.scale for layer in read_graph(path).layers}
    assert all(len(scale) > 1 for scale in scales.values())
    for name, value in full.state.items():
        step = value.abs().max() / 127 if name.endswith('conv.weight') or 'head' in name else 0
        assert (coarse.state[name] - value).abs().max() <= step / 2 + 1e-6, name


def test_a_whole_network_says_what_it_wants(small):
    weights = import_weights(small)
    recipe = weights.recipe
    assert (recipe.padding, recipe.act_cfg, recipe.mean, recipe.std, recipe.input_size) == (
        'same',
        dict(type='ReLU6'),
        (128.0,) * 3,
        (128.0,) * 3,
        128,
    )
    assert weights.state['head.fc.weight'].shape == (1001, 256)
    assert {move.target for move in weights.moves} == set(weights.state)


def test_recalibration_keeps_the_outputs_and_gives_real_statistics(small, shared):
    weights = import_weights(small)
    files = sorted((shared / 'imagenet' / 'images').iterdir())[:48]
    batches = list(square_batches(files, 128))
    recalibrated = recalibrate_bn(weights, batches)
    images = normalise(batches[0], weights)
    before, after = (build_network(w) for w in (weights, recalibrated))
    torch.testing.assert_close(after(images), before(images), rtol=1e-3, atol=1e-3)

    def output_change(network):
        """How far training mode, which uses the batch's statistics, is from evaluation."""
        expected = network(images)
        return ((network.train()(images) - expected).norm() / expected.norm()).item()

    assert output_change(after) < 0.5 < output_change(before)
    assert after[0].backbone.rows['3'].pointwise.bn.running_var.std() > 0.01


def test_recalibration_without_images_is_an_error(small):
    with pytest.raises(ValueError, match='at least one image'):
        recalibrate_bn(import_weights(small), [])


def test_half_of_a_network_is_refused(shared):
    with pytest.raises(InputError, match='1 convolutions, MobileNetV1 has 27'):
        import_weights(shared / 'weights' / PARTS[1])


def test_several_files_must_be_parts_of_one_network(shared):
    with pytest.raises(InputError, match='must be TFLite files'):
        import_weights(
            shared / 'weights' / PARTS[0], shared / 'weights' / 'mobilenet_v1_0.25_imagenet_leaky.safetensors'
        )


@pytest.mark.parametrize('keep', [9, 2000, 300_000])
def test_a_file_that_was_cut_is_refused(small, tmp_path, keep):
    (tmp_path / 'cut.tflite').write_bytes(small.read_bytes()[:keep])
    with pytest.raises(InputError):
        import_weights(tmp_path / 'cut.tflite')


def test_a_damaged_file_is_refused_or_read_never_a_crash(small, tmp_path):
    generator, content = np.random.default_rng(0), small.read_bytes()
    path = tmp_path / 'damaged.tflite'
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(8, len(content), 40):
            damaged[place] ^= int(generator.integers(1, 256))
        for place in generator.integers(8, 4000, 4):  # where the tables are
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            import_weights(path)
