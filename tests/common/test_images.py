import io

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import find_images, read_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(array, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, **{'format': 'PNG', **options})
    return stream.getvalue()


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM', 'WEBP'])
def test_lossless_formats_come_back_exactly(kind):
    options = dict(lossless=True) if kind == 'WEBP' else {}
    np.testing.assert_array_equal(read_image(encoded(RGB, format=kind, **options)), RGB)


def test_greyscale_is_repeated():
    np.testing.assert_array_equal(read_image(encoded(RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2))


def test_alpha_is_dropped():
    rgba = np.concatenate([RGB, RGB[..., :1]], axis=2)
    np.testing.assert_array_equal(read_image(encoded(rgba)), RGB)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_sixteen_bit_keeps_the_upper_byte(kind):
    wide = RGB[..., 0].astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(read_image(encoded(wide, format=kind))[..., 1], RGB[..., 0])


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_applied(orientation):
    turns = {  # from the EXIF standard: where the stored first row and column lie in the picture
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(RGB, exif=exif.tobytes())
    np.testing.assert_array_equal(read_image(content), turns[orientation](RGB))


def test_annotations_of_the_stored_pixels_get_the_stored_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(RGB, exif=exif.tobytes())
    np.testing.assert_array_equal(read_image(content, size=(6, 9)), RGB)
    assert read_image(content, size=(9, 6)).shape == (9, 6, 3)


def test_animations_give_their_first_frame():
    stream = io.BytesIO()
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    frames[0].save(stream, format='GIF', save_all=True, append_images=frames[1:])
    assert read_image(stream.getvalue())[0, 0].tolist() == [255, 0, 0]


BROKEN = {
    'empty': b'',
    'text': b'this is not an image',
    'truncated': encoded(RGB.repeat(40, 0).repeat(40, 1), format='JPEG')[:-600],
    'header only': encoded(RGB)[:30],
    'svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_file_is_named_in_one_line(name, tmp_path):
    path = tmp_path / 'photo.jpg'
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError) as raised:
        read_image(path)
    assert str(raised.value).startswith(f'image {path}: ')
    assert '\n' not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r'none\.jpg: No such file'):
        read_image(tmp_path / 'none.jpg')


def test_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr('mbv1_backbone.common.images.MAX_PIXELS', 50)
    with pytest.raises(InputError, match='9 x 6 pixels, at most 50 are read'):
        read_image(encoded(RGB))


def test_files_folders_and_globs_are_found(tmp_path):
    for name in ('a.jpg', 'b.PNG', 'notes.txt', 'deep/c.jpeg', '[odd].jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*patterns):
        return [path.name for path in find_images([tmp_path / p for p in patterns])]

    assert names('.') == ['[odd].jpg', 'a.jpg', 'b.PNG', 'c.jpeg']
    assert names('*.jpg') == ['[odd].jpg', 'a.jpg']
    assert names('[odd].jpg') == ['[odd].jpg']
    assert names('b.PNG', 'a.jpg', 'b.PNG') == ['b.PNG', 'a.jpg']
    assert names('**/*.jpeg') == ['c.jpeg']
    with pytest.raises(InputError, match=r'no image at .*missing'):
        names('missing')
