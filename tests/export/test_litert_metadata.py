"""What others read of a LiteRT file: TensorFlow Lite's metadata, and labels in an archive behind it."""

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tflite
from flatbuffers import number_types, table
from support import embedders
from support.plain_graphs import IMAGENET, classifier, patterns, small_ssd, ssd_spec, taps

from mbv1_backbone import load
from mbv1_backbone.common.errors import DamagedFileError, InputError, NotInstalledError
from mbv1_backbone.export.detectors import detector_graph_of
from mbv1_backbone.export.graphs import EmbedderGraph
from mbv1_backbone.export.writers import write
from mbv1_backbone.inference.exportable import embedder_spec, exportable
from mbv1_backbone.inference.resolve import resolve
from mbv1_backbone.models.imagenet import are_imagenet, imagenet_classes, own_names
from mbv1_backbone.models.recipe import recipe_of
from mbv1_backbone.runtime.sessions import open_session
from mbv1_backbone.weights import import_weights
from mbv1_backbone.weights.cache import cache_folder
from mbv1_backbone.weights.tflite_exported import WEIGHTS_KEY
from mbv1_backbone.weights.tflite_graph import read_graph
from mbv1_backbone.weights.tflite_labels import read_labels
from mbv1_backbone.weights.zoo import licence_of

GOOGLES = 'mobilenet_v1_0.25_128_quant.tflite'
# Fields of the schema's tables, in its order: a text, a number, a list of floats or of numbers, or tables. A
# union has two fields, its kind and its content.
FILE = dict(name='text', description='text', type='byte')
CONTENT = {
    1: {},
    2: dict(color_space='byte', default_size=dict(width='int', height='int')),
    3: dict(index='ints', type='byte', coordinate_type='byte'),
}
TENSOR = dict(
    name='text',
    description='text',
    dimension_names='skipped',
    content=dict(kind='byte', properties=CONTENT, range=dict(min='int', max='int')),
    process_units=[dict(kind='byte', options={1: dict(mean='floats', std='floats'), 3: {}})],
    stats=dict(max='floats', min='floats'),
    associated_files=[FILE],
)
GRAPH = dict(name='text', description='text', inputs=[TENSOR], outputs=[TENSOR])
MODEL = dict(
    name='text',
    description='text',
    version='text',
    graphs=[GRAPH],
    author='text',
    license='text',
    associated_files=[FILE],
    min_parser_version='text',
)


def read(at, schema):
    """A table as a dict, by a schema."""
    made = {}
    for number, (name, kind) in enumerate(schema.items()):
        offset = at.Offset(4 + 2 * number)
        if not offset or kind == 'skipped':
            continue
        if isinstance(kind, dict) and 1 in kind:
            kind = kind[made['kind']]
        if kind == 'text':
            made[name] = at.String(at.Pos + offset).decode()
        elif kind == 'byte':
            made[name] = at.Get(number_types.Int8Flags, at.Pos + offset)
        elif kind == 'int':
            made[name] = at.Get(number_types.Int32Flags, at.Pos + offset)
        elif kind in ('floats', 'ints'):
            flags = number_types.Float32Flags if kind == 'floats' else number_types.Uint32Flags
            made[name] = at.GetVectorAsNumpy(flags, offset).tolist()
        elif isinstance(kind, list):
            start = at.Vector(offset)
            places = [start + 4 * i for i in range(at.VectorLen(offset))]
            made[name] = [read(table.Table(at.Bytes, at.Indirect(place)), kind[0]) for place in places]
        else:
            made[name] = read(table.Table(at.Bytes, at.Indirect(at.Pos + offset)), kind)
    return made


def metadata_of(path):
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    [mine] = [entry for entry in entries if entry.Name() == b'TFLITE_METADATA']
    content = bytearray(model.Buffers(mine.Buffer()).DataAsNumpy().tobytes())
    assert content[4:8] == b'M001'
    return read(table.Table(content, struct.unpack_from('<I', content)[0]), MODEL)


def test_the_reader_reads_googles_own(shared):
    found = metadata_of(shared / 'weights' / GOOGLES)
    [graph] = found['graphs']
    [image], [output] = graph['inputs'], graph['outputs']
    assert (found['name'], found['min_parser_version']) == ('ImageClassifier', '1.0.0')
    assert (image['name'], image['content']['kind'], image['content']['properties']['color_space']) == (
        'image',
        2,
        1,
    )
    assert image['process_units'] == [dict(kind=1, options=dict(mean=[127.5], std=[127.5]))]
    assert image['stats'] == dict(max=[255], min=[0])
    assert (output['name'], output['associated_files'][0]['type']) == ('probability', 2)
    assert output['associated_files'][0]['name'] == 'imagenet_labels.txt'


@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_a_classifier_says_its_labels_and_normalisation(tmp_path, precision):
    graph, spec = classifier(precision)
    names = ('a cell', 'two\nlines', *'cdefghij')
    path = tmp_path / 'c.tflite'
    write(graph, replace(spec, classes=names, licence='MIT; data free'), path, patterns(8))
    found = metadata_of(path)
    [graph] = found['graphs']
    [image], [output] = graph['inputs'], graph['outputs']
    assert found['description'] == f'MobileNetV1 classifier, 64 x 64 pixels, 10 classes, {precision}'
    assert (found['author'], found['license']) == ('mbv1-backbone', 'MIT; data free')
    assert image['content'] == dict(
        kind=2, properties=dict(color_space=1, default_size=dict(width=64, height=64))
    )
    [unit] = image['process_units']
    np.testing.assert_allclose(unit['options']['mean'], IMAGENET['mean'], rtol=1e-5)
    np.testing.assert_allclose(unit['options']['std'], IMAGENET['std'], rtol=1e-5)
    assert output['associated_files'] == [dict(name='labels.txt', description='Names of the classes', type=2)]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read('labels.txt').decode().splitlines() == ['a cell', 'two lines', *'cdefghij']
    if shutil.which('unzip'):
        listed = subprocess.run(['unzip', '-l', path], capture_output=True, text=True, check=False)
        assert 'labels.txt' in listed.stdout
    session = open_session(path)  # which reads what is before the archive
    assert session.spec.classes == names
    assert session.run(patterns(1))[0].shape == (1, 10)
    assert import_weights(path).classes == names


def test_a_detector_says_which_output_is_which(tmp_path):
    model = small_ssd()
    write(detector_graph_of(model, (128, 128)), ssd_spec(model), tmp_path / 's.tflite')
    [graph] = metadata_of(tmp_path / 's.tflite')['graphs']
    boxes, labels, scores, count = graph['outputs']
    assert [each['name'] for each in graph['outputs']] == [
        'location',
        'category',
        'score',
        'number of detections',
    ]
    assert boxes['content'] == dict(
        kind=3, properties=dict(index=[1, 0, 3, 2], type=1), range=dict(min=2, max=2)
    )
    assert labels['associated_files'][0]['type'] == 3
    assert scores['content']['range'] == dict(min=2, max=2)
    assert count['content'] == dict(kind=1, properties={})
    with zipfile.ZipFile(tmp_path / 's.tflite') as archive:
        assert archive.read('labels.txt') == b'a\nb\nc\n'
    first = (tmp_path / 's.tflite').read_bytes()
    write(detector_graph_of(model, (128, 128)), ssd_spec(model), tmp_path / 's.tflite')
    assert (tmp_path / 's.tflite').read_bytes() == first


def test_networks_without_classes_have_no_archive(tmp_path):
    model = embedders.build()
    write(EmbedderGraph(model), embedder_spec(model, recipe_of(model, 'test')), tmp_path / 'e.tflite')
    write(*taps((5, 11)), tmp_path / 'b.tflite')
    for name, outputs in (('e', ['embeddings']), ('b', ['row_5', 'row_11'])):
        path = tmp_path / f'{name}.tflite'
        assert not zipfile.is_zipfile(path)
        found = metadata_of(path)
        assert 'license' not in found  # nobody has said it
        [graph] = found['graphs']
        assert [output['name'] for output in graph['outputs']] == outputs


def test_labels_of_others_are_read_with_the_weights(tmp_path, shared):
    path = shared / 'weights' / GOOGLES
    names = (shared / 'weights' / 'imagenet_labels.txt').read_text().splitlines()
    assert read_labels(path, read_graph(path).metadata) == tuple(names)
    assert names[0] == 'background'
    assert are_imagenet(names[1:])
    assert not are_imagenet(names[:1000])
    assert import_weights(path).classes is None  # ImageNet's: they are called as everywhere
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo('imagenet_labels.txt').header_offset
    (tmp_path / 'none.tflite').write_bytes(content[:start])
    assert import_weights(tmp_path / 'none.tflite').classes is None
    birds = tuple(f'bird {i}' for i in range(1000))
    (tmp_path / 'birds.tflite').write_bytes(content[:start])
    with zipfile.ZipFile(tmp_path / 'birds.tflite', 'a') as archive:
        archive.writestr('imagenet_labels.txt', '\n'.join(['background', *birds]))
    assert import_weights(tmp_path / 'birds.tflite').classes == birds
    assert exportable(resolve(tmp_path / 'birds.tflite')).spec.classes == birds


def test_a_thousand_classes_without_names_are_imagenets(tmp_path, shared):
    network = resolve(shared / 'weights' / GOOGLES)
    graph, spec = exportable(network)
    assert spec.classes == imagenet_classes()
    path = tmp_path / 'c.tflite'
    write(graph, spec, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.read('labels.txt').decode().splitlines() == list(imagenet_classes())
    assert open_session(path).spec.classes == imagenet_classes()
    assert json.loads(read_graph(path).texts[WEIGHTS_KEY])['classes'] == list(imagenet_classes())
    assert import_weights(path).classes is None  # they are called so anyway
    assert own_names(spec.classes) == ()  # other spellings of a data set are no other classes
    assert own_names(('a', 'b')) == ('a', 'b')


def test_files_of_the_zoos_models_say_their_licence(shared):
    name = 'facenet_mbv1_0.25-112_color'
    assert exportable(resolve(name)).spec.licence == 'research only, as data and teachers'
    assert exportable(resolve(shared / 'weights' / GOOGLES)).spec.licence == ''
    google = cache_folder() / 'google/mobilenet_v1_1.0_224_float' / 'imported-0.safetensors'
    assert licence_of(google) == 'Apache-2.0'


def test_damaged_labels_are_refused(tmp_path, shared):
    path = shared / 'weights' / GOOGLES
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo('imagenet_labels.txt').header_offset
    damaged = bytearray(content)
    damaged[start + 100] ^= 1
    (tmp_path / 'damaged.tflite').write_bytes(damaged)
    with pytest.raises(DamagedFileError, match=r'damaged\.tflite: names of the classes .*: Bad CRC'):
        import_weights(tmp_path / 'damaged.tflite')
    for name, complaint in (('imagenet_labels.txt', 'names 2 classes, and has log'), ('a', 'no item named')):
        (tmp_path / 'other.tflite').write_bytes(content[:start])
        with zipfile.ZipFile(tmp_path / 'other.tflite', 'a') as archive:
            archive.writestr(name, 'background\ntench\n')
        with pytest.raises(InputError, match=complaint):
            import_weights(tmp_path / 'other.tflite')


def test_a_file_that_nothing_here_reads_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / 'c.tflite'
    path.write_bytes(b'\0\0\0\0TFL3')
    monkeypatch.setitem(sys.modules, 'flatbuffers.table', None)
    with pytest.raises(NotInstalledError, match='pip install ai-edge-litert'):
        load(path)
