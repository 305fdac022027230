"""Frozen TensorFlow graphs: the same answers as their own operations give, one by one."""

import io
import sys
import tarfile

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from support import tf_graphs

from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError
from mbv1_backbone.common.images import middle_square, read_image
from mbv1_backbone.training.config import load_config
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.parity import read_labels
from mbv1_backbone.weights.recalibrate import build_network, normalise
from mbv1_backbone.weights.tf_graph import message_class, read_tf_graph

LOGITS = 'MobilenetV1/Logits/SpatialSqueeze'


def images(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize('fused', [True, False])
def test_a_classifier_gives_the_logits_of_its_graph(fused, tmp_path):
    path = tf_graphs.classifier(tmp_path / 'frozen.pb', fused=fused)
    weights = import_weights(path)
    recipe = weights.recipe
    assert (recipe.widen_factor, recipe.padding, recipe.input_size) == (0.25, 'same', 64)
    assert (recipe.act_cfg, recipe.background) == (dict(type='ReLU6'), 0)
    assert recipe.norm_eps == pytest.approx(tf_graphs.EPSILON)
    pixels = images(3, 64)
    with torch.inference_mode():
        ours = build_network(weights)(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), weights))
    theirs = tf_graphs.run(path, pixels / 127.5 - 1, LOGITS)
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)


def test_googles_float_classifier(shared):
    """The retrained layer that hangs on it is left out."""
    path = shared / 'weights' / 'mobilenet_v1_1.0_224_frozen.pb'
    weights = import_weights(path)
    left_out = [move.source for move in weights.moves if move.target is None]
    assert left_out == [
        'final_training_ops/weights/final_weights',
        'final_training_ops/biases/final_biases',
    ]
    assert weights.state['head.fc.weight'].shape == (1001, 1024)
    files = sorted((shared / 'imagenet' / 'images').iterdir())[:4]
    pixels = np.stack([middle_square(read_image(file), 224) for file in files])
    with torch.inference_mode():
        ours = build_network(weights)(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), weights))
    np.testing.assert_allclose(ours.numpy(), tf_graphs.run(path, pixels / 127.5 - 1, LOGITS), atol=1e-4)


@pytest.mark.slow
def test_googles_float_classifier_on_the_photographs(shared):
    weights = import_weights(shared / 'weights' / 'mobilenet_v1_1.0_224_frozen.pb')
    files, labels = read_labels(shared / 'imagenet' / 'labels.txt', shared / 'imagenet' / 'images')
    network, top = build_network(weights), []
    for start in range(0, len(files), 30):
        pixels = np.stack([middle_square(read_image(file), 224, 0.875) for file in files[start : start + 30]])
        with torch.inference_mode():
            logits = network(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), weights))[:, 1:]
        top.append(logits.topk(5).indices.numpy())
    right = np.concatenate(top) == np.array(labels)[:, None]
    assert (right[:, 0].sum(), right.sum()) == (272, 295)


@pytest.mark.parametrize('logits', [91, 4])
def test_a_detector_gives_the_boxes_and_scores_of_its_graph(logits, tmp_path):
    path = tf_graphs.detector(tmp_path / 'frozen_inference_graph.pb', logits)
    weights = import_weights(path)
    assert (weights.recipe.input_size, weights.recipe.background) == (96, None)
    assert weights.recipe.mean == weights.recipe.std == (127.5,) * 3
    cfg = load_config('ssd_mbv1_tf_coco').model
    channels = (128, 256, 128, 64, 64, 32)
    cfg.backbone.update(widen_factor=0.25)
    cfg.neck.update(in_channels=channels[:2], out_channels=channels)
    cfg.bbox_head.update(in_channels=channels, num_classes={91: 80, 4: 3}[logits])
    cfg.bbox_head.anchor_generator.update(input_size=96)
    init_default_scope('mmdet')
    model = MODELS.build(dict(cfg, _scope_='mmdet')).eval()
    assert not model.load_state_dict(weights.state, strict=False).unexpected_keys
    pixels = images(2, 96)
    with torch.inference_mode():
        batch = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), weights)
        scores, boxes = model.bbox_head(model.extract_feat(batch))
    ids = [*range(1, logits), 0]  # background last; of COCO's 91 those that stand for classes
    if logits == 91:
        ids = [*[i for i in ids if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]]
    for level, kinds in enumerate(zip(scores, boxes, strict=True)):
        number = 3 if level == 0 else 6
        for ours, name, picked in zip(
            kinds, ('ClassPredictor', 'BoxEncodingPredictor'), (ids, [1, 0, 3, 2]), strict=True
        ):
            theirs = tf_graphs.run(path, pixels, f'BoxPredictor_{level}/{name}/BiasAdd')
            theirs = theirs.reshape(*theirs.shape[:3], number, -1)[..., picked]
            assert theirs.std() > 0.05
            np.testing.assert_allclose(
                ours.permute(0, 2, 3, 1).reshape(theirs.shape).numpy(), theirs, atol=1e-4
            )


def test_an_archive_with_a_frozen_graph_is_read(tmp_path):
    graph = tf_graphs.classifier(tmp_path / 'x.pb').read_bytes()

    def pack(*names):
        with tarfile.open(tmp_path / 'mobilenet.tgz', 'w:gz') as archive:
            for name in ('labels.txt', *names):
                member = tarfile.TarInfo(name)
                member.size = len(graph)
                archive.addfile(member, io.BytesIO(graph))
        return tmp_path / 'mobilenet.tgz'

    found = import_weights(pack('./mobilenet_v1/frozen_graph.pb'))
    assert found.fingerprint == import_weights(tmp_path / 'x.pb').fingerprint
    with pytest.raises(InputError, match=r'must hold one frozen graph, .* got none'):
        import_weights(pack('saved_model.pb'))
    with pytest.raises(InputError, match=r'got a_frozen.pb, b_frozen.pb'):
        import_weights(pack('a_frozen.pb', 'b_frozen.pb'))


def changed(path, change):
    """A graph file with some nodes changed."""
    graph = message_class()()
    graph.ParseFromString(path.read_bytes())
    for node in graph.node:
        change(node)
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize(
    ('kind', 'field', 'listed', 'values'),
    [
        (1, 'float_val', [1.5, 2.5], [1.5, 2.5]),
        (3, 'int_val', [7], [7, 7]),  # one fills
        (9, 'int64_val', [-(2**40), 5], [-(2**40), 5]),
        (10, 'bool_val', [True, False], [True, False]),
        (19, 'half_val', [0x3C00, 0x1419], [1.0, np.float16(0.001)]),
    ],
)
def test_constants_that_list_their_values_keep_them(kind, field, listed, values, tmp_path):
    """They were zeros where they are whole numbers of 64 bits, truths or of half precision."""
    graph = message_class()()
    node = graph.node.add(name='constant', op='Const')
    entry = node.attr.add(key='value')
    entry.value.tensor.dtype = kind
    entry.value.tensor.tensor_shape.dim.add(size=2)
    getattr(entry.value.tensor, field).extend(listed)
    path = tmp_path / 'x.pb'
    path.write_bytes(graph.SerializeToString())
    assert read_tf_graph(path).nodes['constant'].value.tolist() == pytest.approx(values, rel=1e-3)


def test_a_graph_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        read_tf_graph(tmp_path / 'none.pb')


def test_a_wrong_graph_is_one_line(tmp_path):
    def graph():
        return tf_graphs.classifier(tmp_path / 'frozen.pb', retrained=True)

    def stride(node):
        for entry in node.attr if node.name.endswith('Conv2d_12_depthwise/convolution') else ():
            entry.value.list.i[:] = [1, 1, 1, 1] if entry.key == 'strides' else []

    def folded(node):
        node.name = node.name.replace('/BatchNorm/moving_variance', '/folded')

    def activation(node):
        node.op = 'Elu' if node.name.endswith('Conv2d_3_pointwise/Relu6') else node.op

    def stranger(node):
        node.name = node.name.replace('final_training_ops', 'another_head')

    for change, message in (
        (stride, r'Conv2d_12_depthwise/convolution has strides and padding .*1, 1, 1, 1.* MobileNetV1 has'),
        (folded, 'its batch norms are folded'),
        (activation, r"one activation, Relu or Relu6, .* got \['Elu', 'Relu6'\]"),
        (stranger, r'another_head/weights/final_weights \(8, 2\) has no place'),
    ):
        with pytest.raises(InputError, match=message) as caught:
            import_weights(changed(graph(), change))
        assert '\n' not in str(caught.value)


def entry(node, key):
    return next((e for e in node.attr if e.key == key), None) or node.attr.add(key=key)


def node_of(graph, name):
    return next(node for node in graph.node if node.name == name)


T = 'MobilenetV1/Conv2d_'


def unused(graph):
    """A second set of weights takes the place of the first, which stays."""
    copy = graph.node.add()
    copy.CopyFrom(node_of(graph, f'{T}3_pointwise/weights'))
    copy.name = 'other'
    node_of(graph, f'{T}3_pointwise/convolution').input[1] = 'other'


def twice(graph):
    node_of(graph, f'{T}8_pointwise/convolution').input[1] = f'{T}7_pointwise/weights/read'


def norm_twice(graph):
    norm = f'{T}8_pointwise/BatchNorm/FusedBatchNormV3'
    node_of(graph, norm).input[2] = f'{T}7_pointwise/BatchNorm/beta/read'


def norm_turned(graph):
    norm = node_of(graph, f'{T}8_pointwise/BatchNorm/FusedBatchNormV3')
    norm.input[1], norm.input[2] = norm.input[2], norm.input[1]


def dilated(graph):
    entry(node_of(graph, f'{T}8_depthwise/convolution'), 'dilations').value.list.i.extend([1, 2, 2, 1])


def channels_first(graph):
    entry(node_of(graph, f'{T}0/convolution'), 'data_format').value.s = b'NCHW'


def whole_numbers(graph):
    tensor = entry(node_of(graph, f'{T}0/weights'), 'value').value.tensor
    values = np.frombuffer(tensor.tensor_content, np.float32)
    tensor.dtype, tensor.tensor_content = 3, (values * 100).astype(np.int32).tobytes()


def named_twice(graph):
    graph.node.add().CopyFrom(node_of(graph, f'{T}0/weights'))


def side(*sides):
    def change(graph):
        dims = entry(node_of(graph, 'input'), 'shape').value.shape.dim
        for dim, size in zip(dims[1:3], sides, strict=True):
            dim.size = size

    return change


def epsilon(value):
    def change(graph):
        entry(node_of(graph, f'{T}5_depthwise/BatchNorm/FusedBatchNormV3'), 'epsilon').value.f = value

    return change


def skipped(graph):
    node_of(graph, f'{T}8_depthwise/convolution').input[0] = f'{T}6_pointwise/Relu6'


def added(graph):
    """A shortcut, as MobileNetV2 has them."""
    graph.node.add(name='sum', op='Add', input=[f'{T}7_pointwise/Relu6', f'{T}6_pointwise/Relu6'])
    node_of(graph, f'{T}8_depthwise/convolution').input[0] = 'sum'


def pooled(graph):
    graph.node.add(name='pool', op='MaxPool', input=[f'{T}7_pointwise/Relu6'])
    node_of(graph, f'{T}8_depthwise/convolution').input[0] = 'pool'


def linear(graph):
    node_of(graph, f'{T}8_depthwise/convolution').input[0] = f'{T}7_pointwise/BatchNorm/FusedBatchNormV3'


def activated_first(graph):
    relu, norm = (node_of(graph, f'{T}7_pointwise/{n}') for n in ('Relu6', 'BatchNorm/FusedBatchNormV3'))
    relu.input[0], norm.input[0] = norm.input[0], relu.name
    node_of(graph, f'{T}8_depthwise/convolution').input[0] = norm.name


def norms_crossed(graph):
    """Each of two layers takes the batch norm of the other."""
    one, other = (node_of(graph, f'{T}{row}_pointwise/BatchNorm/FusedBatchNormV3') for row in (7, 8))
    one.input[0], other.input[0] = other.input[0], one.input[0]
    one, other = (node_of(graph, f'{T}{row}_pointwise/Relu6') for row in (7, 8))
    one.input[0], other.input[0] = other.input[0], one.input[0]


def trained(graph):
    entry(node_of(graph, f'{T}8_pointwise/BatchNorm/FusedBatchNormV3'), 'is_training').value.b = True


def port(graph):
    node_of(graph, f'{T}8_depthwise/convolution').input[0] += ':1'


def unpooled(graph):
    node_of(graph, 'MobilenetV1/Logits/Conv2d_1c_1x1/Conv2D').input[0] = f'{T}13_pointwise/Relu6'


def operation(name, op):
    def change(graph):
        node_of(graph, f'MobilenetV1/{name}').op = op

    return change


def pooling(key, value):
    def change(graph):
        found = entry(node_of(graph, 'MobilenetV1/Logits/AvgPool'), key).value
        if isinstance(value, bytes):
            found.s = value
        else:
            found.list.i[:] = value

    return change


def constant(graph, name, value):
    value = np.asarray(value, np.float32)
    tensor = entry(graph.node.add(name=name, op='Const'), 'value').value.tensor
    tensor.dtype, tensor.tensor_content = 1, value.tobytes()
    for size in value.shape:
        tensor.tensor_shape.dim.add(size=size)
    return name


def fed(*steps, before=f'{T}0/convolution'):
    """Operations with a constant before the first convolution: op, constant, op, constant."""

    def change(graph):
        name = node_of(graph, before).input[0]
        for number, (op, value) in enumerate(zip(steps[::2], steps[1::2], strict=True)):
            step = f'step{number or ""}'
            graph.node.add(name=step, op=op, input=[name, constant(graph, f'{step}/y', value)])
            name = step
        node_of(graph, before).input[0] = name

    return change


def shaped(*sides):
    def change(graph):
        for dim, size in zip(entry(node_of(graph, 'input'), 'shape').value.shape.dim, sides, strict=True):
            dim.size = size

    return change


MISMATCHES = {
    unused: 'Conv2d_3_pointwise/weights is used by no operation; each weight of MobileNetV1 is used once',
    twice: 'Conv2d_7_pointwise/weights is used twice, by .*Conv2d_7_pointwise/convolution and ',
    norm_twice: 'Conv2d_7_pointwise/BatchNorm/beta is used twice',
    norm_turned: 'FusedBatchNormV3 takes .*8_pointwise/BatchNorm/beta as gamma, must take .*/BatchNorm/gamma',
    dilated: r'Conv2d_8_depthwise/convolution has .*\(1, 2, 2, 1\)',
    channels_first: r"Conv2d_0/convolution has data_format and dilations \('NCHW'",
    whole_numbers: 'Conv2d_0/weights holds int32, the weights of MobileNetV1 are floats',
    named_twice: '2 nodes are named MobilenetV1/Conv2d_0/weights',
    side(1, 1): 'input takes images of 1 x 1, must be a square of 32 pixels or more',
    side(7, 7): 'input takes images of 7 x 7',
    side(64, 96): 'input takes images of 64 x 96',
    epsilon(float('nan')): r'must be one number above 0, got \[nan\]',
    epsilon(0.0): 'must be one number above 0',
    skipped: 'Conv2d_8_depthwise/convolution follows .*Conv2d_6_pointwise/weights, which is not the layer',
    added: 'Conv2d_8_depthwise/convolution takes Add sum, must take the activation of a layer',
    pooled: 'Conv2d_8_depthwise/convolution takes MaxPool pool, must take the activation',
    linear: 'Conv2d_8_depthwise/convolution takes FusedBatchNormV3 .*, must take the activation',
    activated_first: 'Conv2d_8_depthwise/convolution takes FusedBatchNormV3 .*, must take the activation',
    norms_crossed: '8_pointwise/.*V3 takes .*8_pointwise/BatchNorm/gamma as gamma, must take .*7_pointwise',
    trained: 'FusedBatchNormV3 must have is_training=false',
    port: 'Conv2d_8_depthwise/convolution takes output 1 of .*Conv2d_7_pointwise/Relu6, must take 0',
    operation(
        'Logits/Conv2d_1c_1x1/BiasAdd', 'Sub'
    ): 'biases is used by Sub .*, must be added to what .*weights',
    pooling('ksize', [1, 1, 1, 1]): 'mean of 1 x 1; of images of 64 pixels the map has 2 x 2',
    pooling('ksize', [1, 2, 1, 1]): 'must average the map without padding',
    pooling('padding', b'SAME'): "AvgPool has ksize, padding and data_format .*'SAME'",
    unpooled: 'Conv2d_1c_1x1/Conv2D takes Relu6 .*, must take a mean over the map',
    fed('Maximum', 0.0): 'Maximum step before MobilenetV1/Conv2d_0/convolution; images may be scaled and',
    fed('ReverseV2', 3.0): 'ReverseV2 step before MobilenetV1/Conv2d_0/convolution',
    fed('Sub', 0.5): r'is fed \(images - \[0.5, 0.5, 0.5\]\) / \[1.0, 1.0, 1.0\], which fits neither pixels',
    fed('Mul', -1.0): r'Mul step with \[-1.0, -1.0, -1.0\]',
    shaped(1, 3, 64, 64): r'input takes \(1, 3, 64, 64\), must take \(images, height, width, 3\)',
    shaped(1, 64, 64, 1): r'input takes \(1, 64, 64, 1\)',
}


def rewired(path, change):
    """A graph file with a change to the whole."""
    graph = message_class()()
    graph.ParseFromString(path.read_bytes())
    change(graph)
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize('change', MISMATCHES)
def test_a_graph_that_computes_something_else_is_refused(change, tmp_path):
    path = rewired(tf_graphs.classifier(tmp_path / 'x.pb'), change)
    with pytest.raises(InputError, match=MISMATCHES[change]) as caught:
        import_weights(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def exchanged(one, place, other, other_place):
    """Two inputs of operations of a batch norm change places."""

    def change(graph):
        a, b = (node_of(graph, f'{T}3_depthwise/BatchNorm/batchnorm/{name}') for name in (one, other))
        a.input[place], b.input[other_place] = b.input[other_place], a.input[place]

    return change


NORM = 'Conv2d_3_depthwise/BatchNorm/batchnorm'


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (exchanged('mul', 1, 'sub', 0), 'BatchNorm/beta as gamma, must take .*/BatchNorm/gamma'),
        (exchanged('mul_2', 0, 'add', 0), 'moving_variance as moving_mean'),
        (exchanged('mul_2', 0, 'sub', 0), 'moving_mean as beta'),
        (exchanged('sub', 0, 'sub', 1), 'is not where batch norm has it: x '),
        (operation(f'{NORM}/add_1', 'Sub'), 'Relu6 takes Sub .*add_1, must take a batch norm'),
        (operation(f'{NORM}/add_1', 'Mul'), 'Relu6 takes Mul .*add_1, must take a batch norm'),
        (operation(f'{NORM}/mul', 'Add'), 'is not where batch norm has it'),
        (operation(f'{NORM}/sub', 'Add'), 'is not where batch norm has it'),
        (fed('Mul', 2.0, before=f'{T}3_depthwise/Relu6'), 'Relu6 takes Mul step, must take a batch norm'),
        (fed('Add', 1.0, before=f'{T}3_depthwise/Relu6'), 'Add step is not where batch norm has it'),
        (fed('Mul', 2.0, before=f'MobilenetV1/{NORM}/mul_1'), 'takes Mul step, must take a conv'),
        (fed('Mul', 2.0, before=f'{T}3_pointwise/convolution'), 'takes Mul step, must take the activation'),
    ],
)
def test_a_batch_norm_of_several_operations_is_refused_unless_each_is_in_its_place(change, says, tmp_path):
    with pytest.raises(InputError, match=says) as caught:
        import_weights(rewired(tf_graphs.classifier(tmp_path / 'x.pb', fused=False), change))
    assert '\n' not in str(caught.value)


def test_factors_may_change_places(tmp_path):
    wanted = import_weights(tf_graphs.classifier(tmp_path / 'x.pb', fused=False))
    for name in ('mul', 'mul_1', 'mul_2', 'add', 'add_1'):
        rewired(tmp_path / 'x.pb', exchanged(name, 0, name, 1))
    assert import_weights(tmp_path / 'x.pb').fingerprint == wanted.fingerprint


@pytest.mark.parametrize(
    ('steps', 'white', 'mean', 'std'),
    [
        (('Mul', 2 / 255, 'Sub', 1.0), 255, [127.5] * 3, [127.5] * 3),
        (('Sub', 0.5, 'Mul', 2.0), 1, [127.5] * 3, [127.5] * 3),
        (('Mul', 1 / 255), 255, [0] * 3, [255] * 3),
        (('Sub', [123.0, 117, 104], 'Mul', [0.02, 0.02, 0.025]), 255, [123, 117, 104], [50, 50, 40]),
    ],
)
def test_what_a_graph_does_with_images_is_read(steps, white, mean, std, tmp_path):
    path = rewired(tf_graphs.classifier(tmp_path / 'x.pb'), fed(*steps))
    weights = import_weights(path)
    assert weights.recipe.mean == pytest.approx(mean)
    assert weights.recipe.std == pytest.approx(std)
    pixels = images(2, 64)
    with torch.inference_mode():
        ours = build_network(weights)(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), weights))
    theirs = tf_graphs.run(path, pixels / 255 * white, LOGITS)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-3)


def test_a_graph_of_any_size_has_that_of_its_mean(tmp_path):
    path = rewired(tf_graphs.classifier(tmp_path / 'x.pb', size=96), shaped(-1, -1, -1, 3))
    assert import_weights(path).recipe.input_size == 96


def looped(graph):
    """The loop in which the Object Detection API resizes images, as its graphs have it, in short."""
    scope = 'Preprocessor/map'
    for name, op, *inputs in (
        ('while/add', 'Add', 'while/Identity', 'while/one'),
        ('while/NextIteration', 'NextIteration', 'while/add'),
        ('while/Merge', 'Merge', 'while/Enter', 'while/NextIteration'),
        ('while/Enter', 'Enter', 'while/zero'),
        ('while/Identity', 'Identity', 'while/Merge'),
        ('while/Read', 'TensorArrayReadV3', 'Scatter', 'while/Identity'),
        ('while/Expand', 'ExpandDims', 'while/Read', 'while/zero'),
        ('while/Resize', 'ResizeBilinear', 'while/Expand', 'while/size'),
        ('while/Squeeze', 'Squeeze', 'while/Resize'),
        ('while/Write', 'TensorArrayWriteV3', 'Array:1', 'while/Identity', 'while/Squeeze'),
        ('while/Exit', 'Exit', 'while/Write'),
        ('Stack', 'TensorArrayGatherV3', 'Array', 'while/Exit'),
        ('Array', 'TensorArrayV3'),
    ):
        graph.node.add(name=f'{scope}/{name}', op=op, input=[f'{scope}/{one}' for one in inputs])
    graph.node.add(name=f'{scope}/Scatter', op='TensorArrayScatterV3', input=[f'{scope}/Array', 'Cast'])
    graph.node.add(name='Cast', op='Cast', input=['image'])
    for name, values in (('one', 1), ('zero', 0), ('size', [96, 96])):
        node = node_of(graph, constant(graph, f'{scope}/while/{name}', values))
        tensor = entry(node, 'value').value.tensor
        tensor.dtype, tensor.tensor_content = 3, np.array(values, np.int32).tobytes()
    for dim in list(entry(node_of(graph, 'image'), 'shape').value.shape.dim)[1:3]:
        dim.size = -1
    node_of(graph, 'Preprocessor/mul').input[0] = f'{scope}/Stack'


def test_a_detector_that_resizes_in_a_loop_is_read_or_refused(tmp_path):
    path = rewired(tf_graphs.detector(tmp_path / 'x.pb', 4), looped)
    recipe = import_weights(path).recipe
    assert (recipe.input_size, recipe.mean, recipe.std) == (96, (127.5,) * 3, (127.5,) * 3)
    whole = path.read_bytes()
    for change in (
        fed('ReverseV2', 3.0, before='Preprocessor/map/while/Squeeze'),
        fed('Add', 3.0, before='Preprocessor/map/while/Squeeze'),
    ):
        path.write_bytes(whole)
        with pytest.raises(InputError, match=r'(ReverseV2|Add) step before FeatureExtractor'):
            import_weights(rewired(path, change))


def test_an_epsilon_that_is_a_list_is_refused(tmp_path):
    def change(node):
        if node.name.endswith('Conv2d_5_depthwise/BatchNorm/batchnorm/add/y'):
            tensor = entry(node, 'value').value.tensor
            tensor.tensor_shape.dim.add(size=2)
            tensor.tensor_content *= 2

    path = changed(tf_graphs.classifier(tmp_path / 'x.pb', fused=False), change)
    with pytest.raises(InputError, match=r'must be one number above 0, got \[0.001 0.001\] \(2,\)'):
        import_weights(path)


def test_an_epsilon_that_a_file_leaves_out_is_tensorflows(tmp_path):
    def change(node):
        kept = [e for e in node.attr if e.key != 'epsilon']
        del node.attr[:]
        node.attr.extend(kept)

    assert import_weights(changed(tf_graphs.classifier(tmp_path / 'x.pb'), change)).recipe.norm_eps == 1e-4


@pytest.mark.parametrize(('number', 'kind'), [(2, np.float64), (19, np.float16)])
def test_weights_of_other_floats_are_read(number, kind, tmp_path):
    def change(node):
        if node.op == 'Const' and node.name.endswith('weights'):
            tensor = entry(node, 'value').value.tensor
            values = np.frombuffer(tensor.tensor_content, np.float32)
            tensor.dtype, tensor.tensor_content = number, values.astype(kind).tobytes()

    whole = import_weights(tf_graphs.classifier(tmp_path / 'x.pb')).state
    found = import_weights(changed(tmp_path / 'x.pb', change)).state
    for name, tensor in whole.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'before'),
    [
        ('BoxPredictor_1/ClassPredictor/Conv2D', 'FeatureExtractor/MobilenetV1/Conv2d_12_pointwise/Relu6'),
        (
            'FeatureExtractor/MobilenetV1/Conv2d_13_pointwise_1_Conv2d_2_1x1_64/convolution',
            'FeatureExtractor/MobilenetV1/Conv2d_11_pointwise/Relu6',
        ),
    ],
)
def test_a_detector_of_other_levels_is_refused(name, before, tmp_path):
    def change(node):
        if node.name == name:
            node.input[0] = before

    path = changed(tf_graphs.detector(tmp_path / 'x.pb', 4), change)
    with pytest.raises(InputError, match='which is not the layer before it'):
        import_weights(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'no nodes'),
        (b'\x08\x01\x12\x05hello', 'a SavedModel, not a frozen graph'),
        (b'\x0a\xff\xff\xff', 'damaged'),
        (b'not a graph at all', 'not a TensorFlow graph'),
    ],
)
def test_another_file_is_one_line(content, message, tmp_path):
    (tmp_path / 'x.pb').write_bytes(content)
    with pytest.raises(InputError, match=message):
        import_weights(tmp_path / 'x.pb')


def test_a_damaged_constant_is_told(tmp_path):
    def cut(node):
        for entry in node.attr if node.name == 'MobilenetV1/Conv2d_0/weights' else ():
            entry.value.tensor.tensor_content = entry.value.tensor.tensor_content[:-4]

    with pytest.raises(DamagedFileError, match=r'Conv2d_0/weights: 860 bytes for \(3, 3, 3, 8\)'):
        import_weights(changed(tf_graphs.classifier(tmp_path / 'x.pb'), cut))


def test_without_protobuf_it_says_what_to_install(tmp_path, monkeypatch):
    path = tf_graphs.classifier(tmp_path / 'x.pb')
    message_class.cache_clear()
    monkeypatch.setitem(sys.modules, 'google.protobuf', None)
    with pytest.raises(NotInstalledError, match=r"pip install 'mbv1-backbone\[weights\]'"):
        import_weights(path)


def test_changed_bytes_are_read_or_refused_in_one_line(tmp_path):
    """Most of a graph is weights, whose bits may be any: the first bytes are names and shapes."""
    path = tmp_path / 'x.pb'
    whole = tf_graphs.classifier(path).read_bytes()
    random, refused = np.random.default_rng(0), []
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, 3000, 4):
            content[place] ^= 1 << random.integers(8)
        kept = random.integers(2000, len(content)) if random.random() < 0.2 else len(content)
        path.write_bytes(bytes(content[:kept]))
        try:
            import_weights(path)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not [line for line in refused if '\n' in line]
