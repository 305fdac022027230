import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import as_image, read_image
from mbv1_backbone.inference.inputs import as_images

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(array, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, **{'format': 'PNG', **options})
    return stream.getvalue()


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM', 'WEBP'])
def test_lossless_formats_come_back_exactly(kind):
    options = dict(lossless=True) if kind == 'WEBP' else {}
    np.testing.assert_array_equal(read_image(encoded(RGB, format=kind, **options)), RGB)


def test_grayscale_is_repeated():
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


def test_a_decompression_bomb_is_refused():
    with pytest.raises(InputError, match='9 x 6 pixels, at most 50 are read'):
        read_image(encoded(RGB), max_pixels=50)


def png_with(kind, content):
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    return encoded(RGB)[:33] + chunk + encoded(RGB)[33:]


LONG = bytes(3_000_000)


@pytest.mark.parametrize(
    'content',
    [
        png_with(b'tEXt', b'Comment\0' + LONG),
        png_with(b'zTXt', b'Comment\0\0' + zlib.compress(LONG)),
        png_with(b'iTXt', b'Comment\0\1\0\0\0' + zlib.compress(LONG)),
        png_with(b'iCCP', b'profile\0\0' + zlib.compress(LONG)),
        png_with(b'iCCP', b'profile\0\7' + b'x' * 9),
    ],
    ids=['tEXt', 'zTXt', 'iTXt', 'iCCP', 'compression method'],
)
def test_pixels_are_read_whatever_text_and_profile_are(content):
    np.testing.assert_array_equal(read_image(content), RGB)


@pytest.mark.parametrize('tag', [0x100, 0x10F, 0x11A, 0x8769])
@pytest.mark.parametrize('kind', [*range(14), 255])
def test_a_picture_is_turned_whatever_its_other_exif_values_are(tag, kind):
    entries = [struct.pack('<HHIHH', 0x0112, 3, 1, 6, 0), struct.pack('<HHII', tag, kind, 1, 0xFFFFFFF0)]
    block = b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<H', 2) + b''.join(sorted(entries)) + bytes(16)
    plain = encoded(RGB, format='JPEG', quality=95)
    content = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + plain[2:]
    np.testing.assert_array_equal(read_image(content), np.rot90(read_image(plain), -1))


STEPS = np.linspace(0, 255, 54).astype(np.uint8).reshape(6, 9)


@pytest.mark.parametrize(
    'values',
    [
        STEPS.astype(np.float32) / 255,
        STEPS.astype(np.float32),
        STEPS.astype(np.float32) * 257,
        STEPS.astype(np.int32),
        STEPS.astype(np.int32) * 65793,
        STEPS.astype(np.uint16) * 16 + 9,
        STEPS.astype(np.uint16) * 4,
        STEPS.astype(np.uint16),
    ],
    ids=['0..1', '0..255', '0..65535', 'int32', '24 bits', '12 bits', '10 bits', '8 bits'],
)
def test_deep_values_are_scaled_and_the_rule_is_said(values, monkeypatch, caplog):
    monkeypatch.setattr('mbv1_backbone.common.images._told', set())
    image = read_image(encoded(values, format='TIFF'))
    assert 'are scaled' in caplog.text or 'are read as' in caplog.text
    np.testing.assert_array_equal(image, np.repeat(STEPS[..., None], 3, axis=2))


def test_deep_colours_of_few_bits_are_not_black():
    import cv2

    deep = RGB.astype(np.uint16) * 16
    deep[0, 0, 0] = 4095
    for suffix in ('.png', '.tif', '.ppm'):
        content = cv2.imencode(suffix, deep[..., ::-1])[1].tobytes()
        np.testing.assert_array_equal(read_image(content)[1:], RGB[1:])
    content = cv2.imencode('.png', (RGB.astype(np.uint16) * 257)[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(read_image(content), RGB)


@pytest.mark.parametrize(
    ('values', 'complaint'),
    [
        (np.full((2, 2), np.nan, np.float32), 'not finite'),
        (np.full((2, 2), np.inf, np.float32), 'not finite'),
        (np.full((2, 2), -1, np.int32), 'negative'),
        (np.full((2, 2), 1.5, np.float32), 'neither 0..1 nor'),
        (np.full((2, 2), 1e9, np.float32), 'neither 0..1 nor'),
    ],
)
def test_deep_values_without_a_scale_are_refused(values, complaint):
    with pytest.raises(InputError, match=complaint):
        read_image(encoded(values, format='TIFF'))


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'link.jpg').symlink_to(tmp_path / 'pipe.jpg')
    (tmp_path / 'folder.jpg').mkdir()
    for path in (tmp_path / 'pipe.jpg', tmp_path / 'link.jpg', tmp_path / 'folder.jpg', '/dev/zero'):
        with pytest.raises(InputError, match='not a regular file'):
            read_image(path)


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / 'huge.jpg', 'wb') as file:
        file.truncate(3 * 2**30)
    with pytest.raises(InputError, match='3221225472 bytes, at most 400000000 are read'):
        read_image(tmp_path / 'huge.jpg')


@pytest.mark.parametrize('name', ['a\0b.jpg', 'a\nb.jpg', b'\xff.jpg'.decode('utf8', 'surrogateescape')])
def test_a_name_that_is_no_text_is_one_printable_line(name):
    with pytest.raises(InputError) as raised:
        read_image(name)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    'image', [RGB[:0], RGB[:, :0], [RGB], encoded(RGB)], ids=['no rows', 'no columns', 'list', 'bytes']
)
def test_what_is_neither_a_file_nor_an_image_is_refused(image):
    with pytest.raises(ValueError, match=r'RGB uint8 \(H, W, 3\), got'):
        as_image(image)


@pytest.mark.parametrize('images', [encoded(RGB), {'a.jpg': RGB}], ids=['bytes', 'dict'])
def test_what_would_be_gone_through_by_bytes_or_keys_is_refused(images):
    with pytest.raises(InputError, match=f'got {type(images).__name__}'):
        as_images(images)
