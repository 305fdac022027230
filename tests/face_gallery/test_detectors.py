"""What a gallery knows of the detector and the model that it was made with."""

import json
import sqlite3

import numpy as np
import pytest
from PIL import Image
from support.embedders import build, published
from support.yunet import yunet_file

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.content import content_name
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.face_detectors import named_finder
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.retrieval.export import export, read_about
from mbv1_backbone.weights import write_weights
from mbv1_backbone.weights.cache import sha256_of


@pytest.fixture
def folder(tmp_path):
    """Photographs of two people, each with one bright cell, two detectors' files, an embedder's weights."""
    for number, name in enumerate(('ada', 'bob')):
        image = np.random.default_rng(number).integers(0, 90, (96, 160, 3), dtype=np.uint8)
        image[40:48, 80:88] = 255
        (tmp_path / 'people' / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / 'people' / name / '1.png')
    for name, width in (('mine', 40), ('others', 60)):
        (tmp_path / name).mkdir()
        yunet_file(tmp_path / name / 'faces.onnx', width)
    write_weights(published(build()), tmp_path / 'small.safetensors')
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    """A verb of the gallery; its exit code and all that it says."""

    def _call(verb, *args, weights='small'):
        model = ['--model', str(folder / f'{weights}.safetensors'), '--backend', 'torch']
        code = main(['gallery', verb, str(folder / 'g'), *map(str, args), *(model if args else ())])
        said = capsys.readouterr()
        return code, said.out + said.err

    return _call


def test_a_detectors_file_is_known_by_its_content_and_need_not_be_named_again(folder, call):
    mine, people = folder / 'mine' / 'faces.onnx', folder / 'people'
    digits = sha256_of(mine)[:12]
    assert call('build', people, '--detector', mine)[0] == 0

    code, said = call('search', people)  # nothing is named
    assert (code, f'faces are found by {mine}, as before' in said) == (0, True), said

    code, said = call('add', people, '--detector', folder / 'others' / 'faces.onnx')
    assert (code, f'was made with face YuNet (SHA-256 {digits}), this is face YuNet' in said) == (2, True)

    mine.rename(folder / 'renamed.onnx')
    code, said = call('add', people)
    asked = f'made with the face detector faces.onnx (SHA-256 {digits}), and {mine} is not there any more: '
    assert (code, f'{asked}give that file by --detector FILE' in said) == (2, True), said
    (folder / 'others' / 'faces.onnx').rename(mine)
    code, said = call('search', people)
    assert (code, f'and {mine} is another file now: give' in said) == (2, True), said

    assert call('search', people, '--detector', folder / 'renamed.onnx')[0] == 0
    mine.unlink()
    assert call('add', people, '--detector', folder / 'renamed.onnx')[0] == 0
    assert call('search', people)[0] == 0  # the new place is known


def test_galleries_that_know_a_name_only_go_on_working(folder, call):
    mine, people = folder / 'mine' / 'faces.onnx', folder / 'people'
    with Gallery.create(
        folder / 'g',
        16,
        published(build()).fingerprint,
        dict(face='YuNet', size=64, colours='RGB'),
    ) as gallery:
        fingerprint = gallery.model
    with sqlite3.connect(folder / 'g' / 'gallery.sqlite') as database:
        database.execute("DELETE FROM meta WHERE key = 'made_with'")
    database.close()
    made_with = json.loads(call('stats')[1])['made_with']
    assert made_with == f'unknown name, hash {fingerprint[:16]}; face YuNet, size 64, colours RGB'
    code, said = call('add', people)
    assert (code, 'made with the face detector YuNet: give that file by --detector FILE' in said) == (2, True)
    assert call('add', people, '--detector', mine)[0] == 0
    assert call('search', people)[0] == 0
    assert json.loads(call('stats')[1])['made_with'].startswith('small.safetensors, hash ')
    code, said = call('search', people, '--detector', folder / 'others' / 'faces.onnx')
    assert (code, f'made with the face detector YuNet (SHA-256 {sha256_of(mine)[:12]})' in said) == (2, True)


def test_what_a_gallery_was_made_with_is_said_in_words(folder, call):
    mine = folder / 'mine' / 'faces.onnx'
    assert call('build', folder / 'people', '--detector', mine)[0] == 0
    made_with = json.loads(call('stats')[1])['made_with']
    assert made_with.startswith('small.safetensors, hash ')
    assert made_with.endswith(
        f'; face YuNet (SHA-256 {sha256_of(mine)[:12]}), size 64, colours RGB; '
        f'alignment upright by five landmarks; detector file {mine}'
    )


def test_another_model_needs_another_threshold(folder, call):
    write_weights(published(build(norm=False)), folder / 'other.safetensors')
    assert call('build', folder / 'people', '--detector', 'none')[0] == 0
    again = ('--detector', 'none')
    assert 'no threshold yet' not in call('reembed', '--out-dir', folder / 'h', *again, weights='other')[1]
    with Gallery(folder / 'g') as gallery:
        gallery.set_calibration(dict(threshold=0.5, fpir=0.05))
    code, said = call('reembed', '--out-dir', folder / 'i', *again, weights='other')
    assert (code, f'mbv1 gallery calibrate {folder / "i"} --fpir 0.05 makes one' in said) == (0, True), said
    with Gallery(folder / 'i') as gallery:
        assert (gallery.calibration, gallery.made_with['model']) == (None, 'other.safetensors')
    code, said = call('search', folder / 'people', *again, weights='other')
    assert (code, 'was made with model small.safetensors ' in said) == (2, True)


def test_identities_of_files_and_names(folder, tmp_path):
    one, other = (folder / name / 'faces.onnx' for name in ('mine', 'others'))
    assert named_finder(one).identity == content_name('YuNet', sha256_of(one)) != named_finder(other).identity
    hashed = dict(face=content_name('a.onnx', '0' * 64), size=64)
    with Gallery.create(tmp_path / 'h', 4, 'm', hashed) as gallery:
        gallery.check_model('m', dict(face=content_name('b.onnx', '0' * 64), size=64))
        gallery.check_model('m', dict(face='a.onnx', size=64))
        for face in ('b.onnx', content_name('a.onnx', '1' * 64)):
            with pytest.raises(
                InputError, match=r'was made with face a\.onnx \(SHA-256 0{12}\), this is face'
            ):
                gallery.check_model('m', dict(face=face, size=64))
        with pytest.raises(InputError, match=r'was made with size 64, this is size 32'):
            gallery.check_model('m', dict(hashed, size=32))


@pytest.mark.parametrize('wrong', [5, ['model'], {1: 'x'}, dict(model=object()), dict(model=float('nan'))])
def test_what_a_gallery_was_made_with_is_what_json_can_hold(wrong, tmp_path):
    with pytest.raises(InputError, match='made_with must be'):
        Gallery.create(tmp_path / 'g', 4, 'm', made_with=wrong)
    with Gallery.create(tmp_path / 'g', 4, 'm', made_with=dict(model=5)) as gallery:
        with pytest.raises(InputError, match='made_with must be'):
            gallery.set_made_with(wrong)
        with pytest.raises(InputError, match='made with model 5 m, this is other'):
            gallery.check_model('other')


def test_a_detectors_file_may_have_any_name(tmp_path):
    names = {'model': 'x', 'detector file': '/tmp/\udcff.onnx'}
    with Gallery.create(tmp_path / 'g', 4, 'm', made_with=names) as gallery:
        assert gallery.stats()['made_with'].isascii()
        export(gallery, tmp_path / 'g.npz')
    assert read_about(tmp_path / 'g.npz')['made_with'] == names
