"""Faces cut out and kept: names, places, what is left out, and runs that go on."""

import json

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.cli.main import main
from mbv1_backbone.common.errors import DamagedFileError, InputError, LockedError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.crop_list import LIST, opened_list
from mbv1_backbone.face.crops import crop_faces, crop_names
from mbv1_backbone.face.finder import FaceFinder, Faces
from mbv1_backbone.face.geometry import LANDMARKS


class Marked:
    """Finds "faces": blocks of pure colour of 40 pixels or more that the picture does not cut off."""

    identity = 'marked'

    def __init__(self):
        self.asked = 0

    def __call__(self, image):
        self.asked += 1
        boxes = []
        for colour in ((255, 0, 0), (0, 255, 0)):
            y, x = np.nonzero((image == colour).all(2))
            if len(y) >= 1600 and x.min() > 0 and x.max() < image.shape[1] - 1:
                boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        rows = np.array(boxes, np.float32).reshape(-1, 4)
        sides = (rows[:, 2:] - rows[:, :2])[:, None]
        marks = rows[:, None, :2] + (LANDMARKS * 1.5 - 0.25).astype(np.float32) * sides
        return Faces(rows, np.full(len(rows), 0.9, np.float32), marks)


def photograph(path, *blocks, size=(160, 200)):
    """Write a grey photograph with blocks: colour, left, top, side."""
    picture = np.full((*size, 3), 90, np.uint8)
    for colour, left, top, side in blocks:
        picture[top : top + side, max(left, 0) : left + side] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def album(tmp_path):
    """Four photographs: one face, two, one at the very edge, none; and a file that is none."""
    folder = tmp_path / 'album'
    photograph(folder / 'ann' / '1.png', (RED, 60, 40, 60))
    photograph(folder / 'ann' / 'two.png', (RED, 10, 40, 50), (GREEN, 90, 40, 70))
    photograph(folder / 'edge.png', (RED, 0, 40, 60))
    photograph(folder / 'empty.png')
    (folder / 'broken.jpg').write_bytes(b'no picture')
    return folder


def files_of(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*.*'))


def crops_of(folder):
    return [name for name in files_of(folder) if name != LIST]


def test_names_are_the_photographs_and_never_one_for_two():
    names = crop_names(['a/1.jpg', 'a/2.tar.jpg', 'b.jpg', 'b.tif', 'c/b.jpg'])
    assert list(names.values()) == ['a/1.png', 'a/2.tar.png', 'b.jpg.png', 'b.tif.png', 'c/b.png']


def test_each_face_is_written_upright_in_the_middle(album, tmp_path):
    out = tmp_path / 'crops'
    done = crop_faces(album, files_of(album), out, FaceFinder(Marked()), 80)
    assert crops_of(out) == ['ann/1.png', 'ann/two.png', 'edge.png']
    assert (done.photographs, done.crops, done.before) == (5, 3, 0)
    assert set(done.left_out) == {'broken.jpg', 'empty.png'}
    assert 'no face' in done.left_out['empty.png']
    assert 'decoded' in done.left_out['broken.jpg']
    one, larger = (read_image(out / 'ann' / name) for name in ('1.png', 'two.png'))
    assert one.shape == (80, 80, 3)
    assert (one[40, 40] == RED).all()
    assert (one[2, 2] == 90).all()
    assert (larger[40, 40] == GREEN).all()


def test_a_face_that_the_photograph_cuts_off_has_its_place_in_the_photograph(album, tmp_path):
    out = tmp_path / 'crops'
    crop_faces(album, ['edge.png'], out, FaceFinder(Marked()), 80)
    line = json.loads((out / LIST).read_text().splitlines()[1])
    assert line['faces'][0]['box'] == [0.0, 40.0, 60.0, 100.0]
    assert (read_image(out / 'edge.png')[40, 40] == RED).all()


def test_all_faces_of_a_photograph_have_names_of_their_own(album, tmp_path):
    photograph(album / 'ann' / 'two_2.png', (RED, 60, 40, 60))
    out = tmp_path / 'crops'
    done = crop_faces(album, files_of(album), out, FaceFinder(Marked(), 'all'), 80)
    assert done.crops == 5
    assert crops_of(out) == ['ann/1.png', 'ann/two.png', 'ann/two_2.png', 'ann/two__2.png', 'edge.png']
    assert (read_image(out / 'ann' / 'two__2.png')[40, 40] == RED).all()


def test_two_faces_where_one_is_wanted_are_a_reason(album, tmp_path):
    done = crop_faces(album, ['ann/two.png'], tmp_path / 'crops', FaceFinder(Marked(), 'reject'), 80)
    assert done.left_out == {'ann/two.png': '2 faces found, one wanted'}


def test_a_run_goes_on_where_another_was_cut_short(album, tmp_path):
    out, files, detector = tmp_path / 'crops', files_of(album), Marked()
    whole = crop_faces(album, files, out, FaceFinder(detector), 80)
    lines = (out / LIST).read_bytes().splitlines(keepends=True)
    (out / LIST).write_bytes(b''.join(lines[:3]) + lines[3][:9])  # killed in the third photograph
    (out / 'ann' / '1.png').unlink()  # and one was removed
    detector.asked, told = 0, []
    again = crop_faces(album, files, out, FaceFinder(detector), 80, told.append)
    assert sum(told) == 5
    assert again.before == 1
    assert (again.crops, again.left_out) == (whole.crops, whole.left_out)
    assert (out / 'ann' / '1.png').is_file()
    assert sorted((out / LIST).read_bytes().splitlines()[-4:]) == sorted(
        line.rstrip() for line in lines[1:] if b'two' not in line
    )
    detector.asked = 0
    assert crop_faces(album, files, out, FaceFinder(detector), 80).before == 5
    assert detector.asked == 0


def test_crops_of_other_options_are_not_mixed(album, tmp_path):
    out = tmp_path / 'crops'
    crop_faces(album, files_of(album), out, FaceFinder(Marked()), 80)
    for finder, size, words in (
        (FaceFinder(Marked()), 96, 'size 80, not 96'),
        (FaceFinder(Marked(), 'all'), 80, 'policy largest, not all'),
    ):
        with pytest.raises(InputError, match=words):
            crop_faces(album, files_of(album), out, finder, size)
    (out / LIST).write_text('{"size": 80}\n3\n')
    with pytest.raises(DamagedFileError, match='not a list of crops'):
        crop_faces(album, files_of(album), out, FaceFinder(Marked()), 80)


def test_two_runs_do_not_write_at_once(album, tmp_path):
    with opened_list(tmp_path / 'crops', {}), pytest.raises(LockedError, match='another run'):
        crop_faces(album, files_of(album), tmp_path / 'crops', FaceFinder(Marked()), 80)


@pytest.fixture
def marked(monkeypatch):
    from mbv1_backbone.inference import face_detectors

    def named(detector, policy):
        return None if detector == 'none' else FaceFinder(Marked(), policy, crops=True)

    monkeypatch.setattr(face_detectors, 'named_finder', named)


def test_the_verb_turns_photographs_as_their_cameras_say(marked, album, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6  # is seen turned by 90 degrees to the right
    turned = Image.open(photograph(tmp_path / 'x.png', (RED, 10, 50, 60)))
    turned.save(album / 'turned.tif', exif=exif)
    assert main(['faces', 'crop', str(album), '--out-dir', str(tmp_path / 'crops'), '--size', '80']) == 0
    said = capsys.readouterr()
    assert '4 faces of 6 photographs; 2 left out' in said.out
    assert 'left out: empty.png: no face found' in said.err
    lines = [json.loads(line) for line in (tmp_path / 'crops' / LIST).read_text().splitlines()[1:]]
    box = next(line['faces'][0]['box'] for line in lines if line['file'] == 'turned.tif')
    assert box == [50.0, 10.0, 110.0, 70.0]  # of 160 x 200, turned: 160 - 50 - 60 from the left
    assert main(['faces', 'crop', str(album), '--out-dir', str(tmp_path / 'crops'), '--size', '80']) == 0
    assert '6 of them done before' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda album, out: ['--out-dir', str(album / 'crops')], 'where the next run'),
        (lambda album, out: ['--out-dir', str(out), '--detector', 'none'], 'cut out by a detector'),
        (lambda album, out: ['--out-dir', str(out), '--size', '8'], 'at least 16'),
        (lambda album, out: ['--out-dir', str(album / 'edge.png')], 'is a file'),
    ],
)
def test_what_cannot_be_cropped_is_one_line(marked, album, tmp_path, capsys, change, words):
    out = tmp_path / 'crops'
    assert main(['faces', 'crop', str(album), *change(album, out)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert not out.exists()
    assert not (album / 'crops').exists()


def test_a_folder_in_a_crops_place_is_refused_before_the_work(marked, album, tmp_path, capsys):
    (tmp_path / 'crops' / 'edge.png').mkdir(parents=True)
    assert main(['faces', 'crop', str(album), '--out-dir', str(tmp_path / 'crops')]) == 2
    assert 'edge.png: is a folder, not a file' in capsys.readouterr().err
    assert not (tmp_path / 'crops' / LIST).exists()


def test_photographs_without_any_face_are_no_success(marked, tmp_path, capsys):
    photograph(tmp_path / 'album' / 'a.png')
    assert main(['faces', 'crop', str(tmp_path / 'album'), '--out-dir', str(tmp_path / 'crops')]) == 2
    assert 'no face in any of 1 photographs' in capsys.readouterr().err


def test_a_photograph_that_has_changed_or_can_now_be_read_is_done_anew(album, tmp_path):
    out, detector = tmp_path / 'crops', Marked()
    crop_faces(album, files_of(album), out, FaceFinder(detector, 'all'), 80)
    photograph(album / 'ann' / 'two.png', (GREEN, 60, 40, 80))
    photograph(tmp_path / 'whole.png', (RED, 60, 40, 60)).replace(album / 'broken.jpg')
    detector.asked = 0
    done = crop_faces(album, files_of(album), out, FaceFinder(detector, 'all'), 80)
    assert (detector.asked, done.before, set(done.left_out)) == (2, 3, {'empty.png'})
    assert crops_of(out) == ['ann/1.png', 'ann/two.png', 'broken.png', 'edge.png']  # no second face any more
    assert (read_image(out / 'ann' / 'two.png')[40, 40] == GREEN).all()
    assert crop_faces(album, files_of(album), out, FaceFinder(detector, 'all'), 80).before == 5


def test_a_photograph_that_comes_later_takes_no_crop_of_another(album, tmp_path):
    out, finder = tmp_path / 'crops', FaceFinder(Marked(), 'all')
    crop_faces(album, files_of(album), out, finder, 80)
    photograph(album / 'ann' / 'two_2.png', (GREEN, 60, 40, 60))  # the name of two.png's second crop
    photograph(album / 'edge.bmp', (GREEN, 60, 40, 60))
    done = crop_faces(album, files_of(album), out, finder, 80)
    lines = [json.loads(line) for line in (out / LIST).read_text().splitlines()[1:]]
    crops = {line['file']: [face['crop'] for face in line.get('faces', ())] for line in lines}
    assert crops['ann/two.png'] == ['ann/two.png', 'ann/two__2.png']
    assert crops['ann/two_2.png'] == ['ann/two_2.png']
    assert (crops['edge.bmp'], crops['edge.png']) == (['edge.bmp.png'], ['edge.png.png'])
    colours = {'ann/two__2.png': RED, 'ann/two_2.png': GREEN, 'edge.bmp.png': GREEN, 'edge.png.png': RED}
    assert all((read_image(out / crop)[40, 40] == colour).all() for crop, colour in colours.items())
    assert done.crops == len(crops_of(out)) == 6


class BorderShy(Marked):
    """Finds in photographs with a border only what ``Marked`` finds in all."""

    def __call__(self, image):
        return super().__call__(image if not image[0].any() else np.zeros((50, 50, 3), np.uint8))


def test_the_second_look_is_for_faces_at_the_edge(tmp_path):
    photograph(tmp_path / 'a' / 'middle.png', (RED, 60, 40, 60))
    photograph(tmp_path / 'a' / 'edge.png', (RED, 2, 40, 60))
    done = crop_faces(tmp_path / 'a', ['edge.png', 'middle.png'], tmp_path / 'b', FaceFinder(BorderShy()), 80)
    assert done.crops == 1
    assert done.left_out == {'middle.png': 'no face found'}


def lines_of(out):
    lines = [json.loads(line) for line in (out / LIST).read_text().splitlines()[1:]]
    return {line['file']: line for line in lines}  # the last of each counts


def test_crops_of_photographs_that_are_gone_are_told_and_stay(album, tmp_path):
    out, finder = tmp_path / 'crops', FaceFinder(Marked(), 'all')
    assert crop_faces(album, files_of(album), out, finder, 80).gone == {}
    (album / 'ann' / 'two.png').rename(tmp_path / 'elsewhere.png')
    (album / 'empty.png').unlink()
    photograph(album / 'edge.bmp', (GREEN, 60, 40, 60))
    (album / 'edge.png').unlink()
    done = crop_faces(album, files_of(album), out, finder, 80)
    wanted = {'ann/two.png': ['ann/two.png', 'ann/two_2.png'], 'empty.png': [], 'edge.png': []}
    assert done.gone == wanted  # edge.png, the crop, is edge.bmp's now
    assert done.crops == 2
    lines = lines_of(out)
    assert {file for file, line in lines.items() if line.get('gone')} == set(wanted)
    assert crops_of(out) == ['ann/1.png', 'ann/two.png', 'ann/two_2.png', 'edge.png']
    (tmp_path / 'elsewhere.png').rename(album / 'ann' / 'two.png')
    again = crop_faces(album, files_of(album), out, finder, 80)
    assert (again.crops, again.before) == (4, 4)
    assert 'gone' not in lines_of(out)['ann/two.png']


def test_crops_of_photographs_that_are_gone_are_removed_where_that_is_said(marked, album, tmp_path, capsys):
    out, words = tmp_path / 'crops', ['faces', 'crop', str(album), '--size', '80', '--policy', 'all']
    assert main([*words, '--out-dir', str(out)]) == 0
    assert 'not in' not in capsys.readouterr().err
    (album / 'ann' / 'two.png').unlink()
    assert main([*words, '--out-dir', str(out)]) == 0
    gone = f'not in {album} any more: ann/two.png; crops of such photographs: 2, which'
    assert f'{gone} stay (--remove-gone removes them)' in capsys.readouterr().err
    assert main([*words, '--out-dir', str(out), '--remove-gone']) == 0
    assert f'{gone} are removed' in capsys.readouterr().err
    assert crops_of(out) == ['ann/1.png', 'edge.png']
    assert set(lines_of(out)) == {'ann/1.png', 'edge.png', 'empty.png', 'broken.jpg'}
    assert main([*words, '--out-dir', str(out), '--remove-gone']) == 0
    said = capsys.readouterr()
    assert '4 of them done before' in said.out
    assert 'not in' not in said.err


def test_why_an_image_is_left_out_is_said_of_the_image_not_of_its_border(tmp_path):
    photograph(tmp_path / 'a' / 'tiny.png', size=(15, 15))
    done = crop_faces(tmp_path / 'a', ['tiny.png'], tmp_path / 'b', FaceFinder(Marked()), 80)
    assert 'the image is 15 x 15' in done.left_out['tiny.png']
