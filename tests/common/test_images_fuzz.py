"""Mutated pictures: the reader answers with a picture or an InputError, and nothing else."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
FILES = 5000
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def exif():
    made = Image.Exif()
    made[0x0112] = 6
    made[0x011A] = (72, 1)  # resolution
    made[0x010F] = 'maker'
    made.get_ifd(0x8769)[0x9003] = '2026:01:01 00:00:00'
    return made.tobytes()


def odd_exif(rng):
    """A JPEG that stands on its side, whose other EXIF values have any type, count and value."""
    tags = rng.sample((0x100, 0x101, 0x102, 0x10F, 0x11A, 0x11B, 0x128, 0x131, 0x8769, 0x8825, 0x9286), 4)
    entries = [struct.pack('<HHIHH', 0x0112, 3, 1, 6, 0)]
    for tag in tags:
        entries.append(
            struct.pack('<HHII', tag, rng.randrange(15), rng.choice(EXTREMES[:6]), rng.choice(EXTREMES))
        )
    block = b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<H', 5) + b''.join(sorted(entries)) + bytes(64)
    plain = encoded(Image.fromarray(RGB), 'JPEG')
    return plain[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + plain[2:]


def seeds():
    """Small pictures of every format, with what may be in it beside the pixels."""
    colours, gray = Image.fromarray(RGB), Image.fromarray(RGB[..., 0])
    deep = Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)
    floats = Image.fromarray((RGB[..., 0] / 255).astype(np.float32))
    text = PngImagePlugin.PngInfo()
    text.add_text('Comment', 'a' * 200, zip=True)
    text.add_itxt('XML:com.adobe.xmp', '<x tiff:Orientation="6"/>')
    made = [encoded(colours, 'JPEG', exif=exif(), icc_profile=b'p' * 90, comment=b'hello')]
    made += [encoded(colours, 'JPEG', progressive=True), encoded(gray, 'JPEG')]
    made += [encoded(colours.convert('CMYK'), 'JPEG')]
    made += [encoded(colours, 'PNG', exif=exif(), pnginfo=text, icc_profile=b'p' * 90)]
    made += [encoded(image, 'PNG') for image in (gray, deep, colours.convert('P'), colours.convert('RGBA'))]
    made += [encoded(colours.convert('1'), 'PNG'), encoded(colours.convert('P'), 'PNG', transparency=3)]
    made += [encoded(colours, 'GIF', save_all=True, append_images=[gray, colours.convert('1')])]
    made += [
        encoded(image, 'BMP') for image in (colours, gray, colours.convert('1'), colours.convert('RGBA'))
    ]
    made += [encoded(image, 'PPM') for image in (colours, gray, deep, floats, colours.convert('1'))]
    made += [b'P3 2 1 4095\n0 4095 17\n9 9 9\n', b'P1\n3 1\n1 0 1\n']
    made += [encoded(image, 'TIFF', exif=exif()) for image in (colours, gray, deep, floats)]
    packed = ('tiff_lzw', 'tiff_adobe_deflate', 'packbits', 'jpeg')
    made += [encoded(colours, 'TIFF', compression=name) for name in packed]
    made += [
        encoded(colours.convert('1'), 'TIFF', compression='group4'),
        encoded(colours.convert('LAB'), 'TIFF'),
    ]
    made += [encoded(colours, 'WEBP', exif=exif()), encoded(colours, 'WEBP', lossless=True, icc_profile=b'p')]
    made += [encoded(colours, 'WEBP', save_all=True, append_images=[gray.convert('RGB')])]
    return [*made, encoded(colours, 'MPO', save_all=True, append_images=[colours])]


def mutated(content, rng, others):
    """The bytes with one to six changes of the kinds that break readers."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) or 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 160) or 1)
        change = rng.randrange(7)
        if change == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            value, form = rng.choice(EXTREMES), rng.choice('<>') + rng.choice('BHI')
            width = struct.calcsize(form)
            data[at : at + width] = struct.pack(form, value % 256**width)
        elif change == 2:
            del data[at:]
        elif change == 3:
            del data[at : at + rng.randint(1, 40)]
        elif change == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 20))
        elif change == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[at:at] = other[start : start + rng.randint(1, 60)]
        else:
            data[at:at] = data[at : at + rng.randint(1, 60)]
    return bytes(data)


@pytest.mark.filterwarnings('ignore')
def test_mutated_pictures_are_read_or_refused_and_nothing_else():
    rng, originals = random.Random(0), seeds()
    read, refused = 0, 0
    for index in range(FILES):
        content = odd_exif(rng) if index % 10 == 0 else mutated(rng.choice(originals), rng, originals)
        try:
            image = read_image(content)
        except InputError:
            refused += 1
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            read += 1
    print(f'{FILES} mutated pictures: {read} read, {refused} refused')
    assert read > FILES / 20
    assert refused > FILES / 20
