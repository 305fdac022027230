"""An interpreter of Core ML's programs that reads saved packages: by the operators' specification, in torch.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

import numpy as np
import torch
from torch.nn import functional as F


def read(path):
    """The specification of a package: of its network, and of the suppression after it, if there is one."""
    from coremltools.models.utils import load_spec

    spec = load_spec(str(path))
    models = [*spec.pipeline.models] if spec.WhichOneof('Type') == 'pipeline' else [spec]
    return spec, models[0], models[1] if len(models) > 1 else None


def operations(network):
    main = network.mlProgram.functions['main']
    assert list(network.mlProgram.functions) == ['main']
    return main.block_specializations[main.opset].operations


def run(path, image):
    """Outputs by name of an image uint8 (H, W, 3), each operator in the precision of what it is given."""
    _, network, _ = read(path)
    values = {'image': torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]}
    for operation in operations(network):
        if operation.type == 'const':
            values[operation.outputs[0].name] = constant(operation.attributes['val'], path)
            continue
        given = {}
        for name, bound in operation.inputs.items():
            each = [
                values[argument.name] if argument.name else constant(argument.value, path)
                for argument in bound.arguments
            ]
            given[name] = each if name == 'values' else each[0]
        if operation.type == 'classify':
            found = dict(zip(given['classes'], given['probabilities'].flatten().tolist(), strict=True))
            made = (max(found, key=found.get), found)
        else:
            made = (OPERATORS[operation.type](**given),)
            check_type(operation.outputs[0], made[0])
        values |= {output.name: value for output, value in zip(operation.outputs, made, strict=True)}
    return {output.name: values[output.name] for output in network.description.output}


def kind_of(about):
    from coremltools.proto.MIL_pb2 import DataType

    return DataType.Name(about.dataType)


def check_type(said, value):
    """What the program says of an output is what was computed."""
    about = said.type.tensorType
    assert tuple(d.constant.size for d in about.dimensions) == tuple(value.shape), said.name
    kinds = {torch.float16: 'FLOAT16', torch.float32: 'FLOAT32'}
    assert kind_of(about) == kinds[value.dtype], said.name


def constant(value, path):
    """By coremltools' own reader of blob files."""
    from coremltools.libmilstoragepython import _BlobStorageReader

    if value.type.WhichOneof('type') == 'listType':
        return [constant(each, path) for each in value.immediateValue.list.values]
    about = value.type.tensorType
    kind = kind_of(about)
    shape = tuple(dimension.constant.size for dimension in about.dimensions)
    if value.WhichOneof('value') == 'blobFileValue':
        blob = value.blobFileValue
        file = blob.fileName.replace('@model_path', str(path / 'Data' / 'com.apple.CoreML'))
        reader = _BlobStorageReader(file)
        if kind == 'FLOAT16':
            flat = np.array(reader.read_fp16_data(blob.offset)).view(np.float16)
        else:
            flat = np.array(reader.read_float_data(blob.offset), np.float32)
        return torch.from_numpy(flat.copy()).reshape(shape)
    inside = value.immediateValue.tensor
    if kind == 'FLOAT16':
        return torch.from_numpy(np.frombuffer(inside.bytes.values, np.float16).copy()).reshape(shape)
    if kind == 'FLOAT32':
        return torch.tensor(list(inside.floats.values)).reshape(shape)
    stored = getattr(inside, inside.WhichOneof('value')).values
    if not shape:
        return stored[0]
    return list(stored)


def conv(x, weight, bias, strides, pad_type, pad, dilations, groups):
    assert [*dilations] == [1, 1]
    top, bottom, left, right = dict(custom=pad, valid=[0] * 4)[pad_type]
    return in_single(
        F.conv2d, F.pad(x, (left, right, top, bottom)), weight, bias, stride=[*strides], groups=groups
    )


def in_single(function, *tensors, **options):
    """Summed in float32, and rounded once: torch has little of float16 on a CPU."""
    return function(*(t.float() for t in tensors), **options).to(tensors[0].dtype)


def cast(x, dtype):
    return x.to({'fp16': torch.float16, 'fp32': torch.float32}[dtype])


def slice_by_size(x, begin, size):
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


def concat(values, axis, interleave):
    assert not interleave
    return torch.cat(values, axis)


OPERATORS = dict(
    abs=lambda x: x.abs(),
    add=lambda x, y: x + y,
    cast=cast,
    clip=lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    concat=concat,
    conv=conv,
    exp=lambda x: x.exp(),
    leaky_relu=lambda x, alpha: torch.where(x >= 0, x, x * alpha),
    maximum=lambda x, y: torch.maximum(x, y),
    mul=lambda x, y: x * y,
    real_div=lambda x, y: x / y,
    reduce_l2_norm=lambda x, axes, keep_dims: in_single(
        lambda t: t.square().sum(axes, keepdim=keep_dims).sqrt(), x
    ),
    reduce_max=lambda x, axes, keep_dims: x.amax(axes, keepdim=keep_dims),
    reduce_mean=lambda x, axes, keep_dims: in_single(lambda t: t.mean(axes, keepdim=keep_dims), x),
    relu=lambda x: x.clamp(min=0),
    relu6=lambda x: x.clamp(0, 6),
    reshape=lambda x, shape: x.reshape([*shape]),
    round=lambda x: x.round(),
    sigmoid=lambda x: in_single(torch.sigmoid, x),
    slice_by_size=slice_by_size,
    softmax=lambda x, axis: in_single(lambda t: t.softmax(axis), x),
    sub=lambda x, y: x - y,
    transpose=lambda x, perm: x.permute([*perm]),
)


def suppressed(scores, boxes, stage, iou_threshold=None, score_threshold=None):
    """What a stage of suppression leaves, by a slow loop: of boxes of one best class the best one."""
    iou_threshold = stage.iouThreshold if iou_threshold is None else iou_threshold
    score_threshold = stage.confidenceThreshold if score_threshold is None else score_threshold
    assert stage.pickTop.perClass
    labels, best = scores.argmax(1), scores.max(1)
    kept = []
    for place in np.argsort(-best, kind='stable'):
        if best[place] < score_threshold:
            break
        rivals = [other for other in kept if labels[other] == labels[place]]
        if not rivals or overlaps(boxes[place], boxes[rivals]).max() <= iou_threshold:
            kept.append(place)
    return scores[kept], boxes[kept]


def overlaps(one, others):
    """Of a box (4,) with others (N, 4), of centre and sides: intersection over union (N,)."""
    low, high = one[:2] - one[2:] / 2, one[:2] + one[2:] / 2
    lows, highs = others[:, :2] - others[:, 2:] / 2, others[:, :2] + others[:, 2:] / 2
    shared = np.clip(np.minimum(high, highs) - np.maximum(low, lows), 0, None).prod(1)
    return shared / (one[2:].prod() + others[:, 2:].prod(1) - shared)
