"""Other projects' models by name, from a mirror on this machine."""

import functools
import http.server
import re
import shutil
import tarfile
import threading

import pytest
import torch

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.loading import load
from mbv1_backbone.weights import external, import_weights, read_weights
from mbv1_backbone.weights.cache import sha256_of
from mbv1_backbone.weights.external import external_models
from mbv1_backbone.weights.zoo import config_of, find_checkpoint, get, zoo_models

MODELS = external_models()
SMALLEST = 'google/mobilenet_v1_0.25_128'
PAIR = 'google/mobilenet_v1_1.0_224'
SSD = 'google/ssd_mobilenet_v1_coco'
EMBEDDER = 'vladmandic/facenet_mobilenetv1_vggface2'
# What the files of some models are called among the shared data.
LOCAL = {
    SMALLEST: ['mobilenet_v1_0.25_128_quant.tflite'],
    'google/mobilenet_v1_0.5_160': ['mobilenet_v1_0.5_160_quant.tflite'],
    'google/mobilenet_v1_0.75_192': ['mobilenet_v1_0.75_192_quant.tflite'],
    PAIR: [
        'mobilenet_v1_1.0_224_quant_embedding_extractor.tflite',
        'mobilenet_quant_v1_224_head_layers.tflite',
    ],
    SSD: ['ssd_mobilenet_v1_coco_quant.tflite'],
    'vladmandic/ssd_mobilenetv1_face': [
        'face_ssd_mobilenetv1_tfjs/ssd_mobilenetv1_model-weights_manifest.json',
        'face_ssd_mobilenetv1_tfjs/ssd_mobilenetv1_model.bin',
    ],
    EMBEDDER: [
        'face_mobilenetv1_vggface2_tfjs/faceres.json',
        'face_mobilenetv1_vggface2_tfjs/faceres.bin',
    ],
}


@pytest.fixture
def mirror(shared, tmp_path, monkeypatch):
    """A folder laid out as the cache is, served by HTTP, with what there is of the models' files."""
    folder = tmp_path / 'mirror'
    for name, local in LOCAL.items():
        for file, source in zip(MODELS[name].files, local, strict=True):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared / 'weights' / source, folder / file.name)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        monkeypatch.setenv('MBV1_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setenv('MBV1_MIRROR', f'http://127.0.0.1:{server.server_port}')
        yield folder
        server.shutdown()


@pytest.mark.parametrize('name', MODELS)
def test_an_entry_says_where_from_what_and_under_which_licence(name):
    entry = MODELS[name].entry
    source = entry['Source']
    assert re.fullmatch(r'[\w.-]+/[\w.-]+', source['Repository'])
    assert re.fullmatch('[0-9a-f]{40}', source['Commit'])
    assert source['Path']
    assert entry['Metadata']['License'] in ('Apache-2.0', 'MIT')
    assert entry['Checked']
    assert entry['Results'][0].keys() == {'Task', 'Dataset', 'Metrics'}
    assert all(0 < value <= 1 for value in entry['Results'][0]['Metrics'].values())
    for file in MODELS[name].files:
        assert file.url.startswith('https://')
        assert file.name.startswith(f'{name}/')
        assert file.sha256 is None or re.fullmatch('[0-9a-f]{64}', file.sha256)
        assert file.sha256 is None or file.size
        if not source.get('Names'):
            assert f'{source["Repository"]}/{source["Commit"]}/' in file.url
    assert 'Config' not in entry or config_of(name).is_file()


def test_names_are_nobody_elses():
    assert not MODELS.keys() & zoo_models().keys()
    assert len({file.name for model in MODELS.values() for file in model.files}) == 3 + len(MODELS)


@pytest.mark.parametrize('name', LOCAL)
def test_hashes_are_those_of_the_files_that_were_measured(name, shared):
    for file, local in zip(MODELS[name].files, LOCAL[name], strict=True):
        path = shared / 'weights' / local
        assert (file.sha256, file.size) == (sha256_of(path), path.stat().st_size)


@pytest.mark.parametrize('name', [SMALLEST, PAIR, SSD])
def test_a_model_is_fetched_imported_and_cached(name, mirror, shared, monkeypatch):
    path = get(name)
    weights = read_weights(path)
    expected = import_weights(*(shared / 'weights' / file for file in LOCAL[name]))
    assert weights.state.keys() == expected.state.keys()
    assert all(torch.equal(weights.state[key], expected.state[key]) for key in expected.state)
    assert weights.recipe.input_size == expected.recipe.input_size
    monkeypatch.setenv('MBV1_MIRROR', 'http://127.0.0.1:9')  # from now on without a network
    assert find_checkpoint(name) == path
    assert read_weights(get(name)).fingerprint == weights.fingerprint


def test_import_weights_and_configs_take_the_name(mirror):
    assert import_weights(SMALLEST).recipe.widen_factor == 0.25
    assert import_weights(f'zoo://{SMALLEST}').recipe.input_size == 128
    assert config_of(SSD).name == 'ssd_mbv1_0.75_tf_coco.py'
    assert config_of(SMALLEST) is None


def test_load_does_it_on_the_way(mirror, shared):
    classifier = load(SMALLEST)
    photo = next((shared / 'imagenet').rglob('*.jp*g'))
    assert len(classifier.classify([photo])) == 1


def test_an_archive_with_a_frozen_graph_has_a_name(mirror, shared):
    name = 'google/mobilenet_v1_1.0_224_float'
    place = mirror / MODELS[name].files[0].name
    place.parent.mkdir(parents=True)
    with tarfile.open(place, 'w:gz', compresslevel=0) as archive:
        graph = shared / 'weights' / 'mobilenet_v1_1.0_224_frozen.pb'
        archive.add(graph, './mobilenet_v1_1.0_224/frozen_graph.pb')
    weights = read_weights(get(name))
    assert weights.recipe.norm_eps == pytest.approx(1e-3)
    assert weights.fingerprint == import_weights(graph).fingerprint


def test_load_builds_a_detector_by_its_config(mirror, shared):
    detector = load(SSD, kind='detector', backend='torch')
    assert len(detector.classes) == 80
    photos = sorted((shared / 'coco' / 'val2017').glob('*.jpg'))[:6]
    found = detector.detect(photos)
    assert sum((image.scores > 0.5).sum() for image in found) >= 3


def test_another_network_under_that_name_is_refused(mirror, tmp_path):
    file = MODELS[SMALLEST].files[0]
    shutil.copyfile(mirror / MODELS['google/mobilenet_v1_0.5_160'].files[0].name, mirror / file.name)
    with pytest.raises(InputError, match=f'instead of .*{file.sha256}.*not kept'):
        get(SMALLEST)
    assert not [path for path in (tmp_path / 'cache').rglob('*') if path.is_file()]


def test_offline_the_line_names_file_place_and_hash(monkeypatch, tmp_path):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path))
    monkeypatch.setenv('MBV1_MIRROR', 'http://127.0.0.1:9')
    file = MODELS[SMALLEST].files[0]
    with pytest.raises(InputError, match=f'put the file at {tmp_path}/{file.name}: it is .*{file.sha256}'):
        get(SMALLEST)


def test_put_there_by_hand_it_needs_no_network(monkeypatch, tmp_path, shared):
    monkeypatch.setenv('MBV1_CACHE', str(tmp_path))
    monkeypatch.setenv('MBV1_MIRROR', 'http://127.0.0.1:9')
    place = tmp_path / MODELS[SMALLEST].files[0].name
    place.parent.mkdir(parents=True)
    shutil.copyfile(shared / 'weights' / LOCAL[SMALLEST][0], place)
    assert read_weights(get(SMALLEST)).recipe.widen_factor == 0.25


def test_an_import_by_other_code_is_made_anew(mirror, monkeypatch):
    path = get(SMALLEST)
    assert get(SMALLEST) == path
    monkeypatch.setattr(external, 'hash_of_code', lambda rooms: 'edited')
    assert get(SMALLEST) != path


def test_a_damaged_import_is_made_anew(mirror):
    path = get(SMALLEST)
    fingerprint = read_weights(path).fingerprint
    path.write_bytes(path.read_bytes()[:-1] + b'x')
    assert read_weights(get(SMALLEST)).fingerprint == fingerprint


def test_an_unknown_name_has_its_nearest_guess():
    with pytest.raises(InputError, match=r'did you mean google/mobilenet_v1_0\.25_128\?'):
        get('google/mobilenet_v1_0.25_12')
    with pytest.raises(InputError, match=r'no such file.*did you mean google/mobilenet_v1_0\.25_128\?'):
        find_checkpoint('google/mobilenet_v1_0.25_12')
