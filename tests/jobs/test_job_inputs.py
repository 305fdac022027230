"""What a job reads: archives that are damaged anywhere, pages, links, names given twice."""

import gzip
import io
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.jobs import Columns, Input, list_inputs, read_images
from mbv1_backbone.jobs.inputs import PARQUET, TAR

BLOCK = 512


def archive(count=5):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        for number in range(count):
            member = tarfile.TarInfo(f'{number}.jpg')
            member.size = 100
            tar.addfile(member, io.BytesIO(bytes([number]) * 100))
    return buffer.getvalue()


def read(path, kind, columns=None):
    return list(read_images([Input(kind, str(path))], columns or Columns()))


@pytest.mark.parametrize(
    ('harm', 'reason'),
    [
        (lambda content: content[: 6 * BLOCK], 'damaged after 3 images: it ends without the mark of its end'),
        (lambda content: content[: 6 * BLOCK + 99], 'damaged after 3 images: truncated header'),
        (
            lambda content: content[: 6 * BLOCK] + b'x' + content[6 * BLOCK + 1 :],
            'damaged after 3 images: bad checksum',
        ),
    ],
    ids=['no mark', 'cut', 'header'],
)
@pytest.mark.parametrize('ending', ['tar', 'tar.gz'])
def test_a_tar_that_is_damaged_between_images_does_not_end_there_without_a_word(
    harm, reason, ending, tmp_path
):
    content, path = harm(archive()), tmp_path / f'a.{ending}'
    if ending == 'tar.gz':
        content = gzip.compress(content)
    path.write_bytes(content)
    *images, failure = read(path, TAR)
    assert [(one.file, one.content) for one in images] == [(f'{n}.jpg', bytes([n]) * 100) for n in range(3)]
    assert (failure.source, failure.file, failure.content) == (str(path), '', None)
    assert failure.reason == reason


def test_whole_tars_have_no_failure_and_links_in_them_are_told(tmp_path):
    path = tmp_path / 'a.tar'
    path.write_bytes(archive())
    assert [one.content for one in read(path, TAR)] == [bytes([n]) * 100 for n in range(5)]
    with tarfile.open(path, 'a') as tar:
        for name, kind in (('hard.jpg', tarfile.LNKTYPE), ('soft.jpg', tarfile.SYMTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, '0.jpg'
            tar.addfile(link)
    *images, hard, soft = read(path, TAR)
    assert len(images) == 5
    assert [hard.file, soft.file] == ['hard.jpg', 'soft.jpg']
    assert hard.content is soft.content is None
    assert hard.reason == 'a link to 0.jpg: give the file itself'
    with tarfile.open(tmp_path / 'none.tar', 'w'):
        pass
    assert read(tmp_path / 'none.tar', TAR) == []


def test_a_damaged_page_is_a_failure_and_a_failing_disk_is_none(tmp_path, monkeypatch):
    path = tmp_path / 'a.parquet'
    images = [os.urandom(300) for _ in range(40)]
    names = [None, *(f'{number}.jpg' for number in range(1, 40))]
    table = pa.table(dict(image=images, key=names))
    pq.write_table(table, path, compression='gzip', row_group_size=20, use_dictionary=False)
    found = read(path, PARQUET, Columns(name='key'))
    assert [one.content for one in found] == images
    assert [one.file for one in found][:2] == ['row 0', '1.jpg']
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start + 2000 : start + 2010] = bytes(10)
    path.write_bytes(content)
    *found, failure = read(path, PARQUET)
    assert [one.content for one in found] == images[: len(found)]
    assert len(found) >= 16
    assert (failure.file, failure.content) == ('', None)
    assert failure.reason.startswith(f'damaged after {len(found)} images: GZipCodec failed')
    path.write_bytes(content[:-8])
    assert [one.reason[:23] for one in read(path, PARQUET)] == ['damaged after 0 images:']
    path.write_bytes(content)

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() < start:
                raise OSError(None, 'the connection was reset')  # as clients of object stores have it
            return super().read(size)

    monkeypatch.setattr('fsspec.open', lambda name: Failing(bytes(content)))
    with pytest.raises(InputError, match='the connection was reset'):
        read(path, PARQUET)


def test_what_several_names_lead_to_is_taken_once(tmp_path, monkeypatch):
    for name in ('photos/a.jpg', 'photos/b.jpg', 'photos/more/c.jpg', 'other/a.jpg'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    (tmp_path / 'list.txt').write_text('photos/b.jpg\nother/a.jpg\n')
    for name in ('1.tar', '2.tar'):
        (tmp_path / name).write_bytes(b'')

    def found(*names):
        return [os.path.relpath(one.path, tmp_path) for one in list_inputs(names)]

    place = str(tmp_path)
    photos = ['photos/a.jpg', 'photos/b.jpg', 'photos/more/c.jpg']
    assert found(f'{place}/photos', f'{place}/photos', f'{place}/photos/more') == photos
    assert found(f'{place}/photos/b.jpg', f'{place}/photos') == ['photos/b.jpg', photos[0], photos[2]]
    assert found(f'{place}/2.tar', f'{place}/?.tar') == ['2.tar', '1.tar']
    assert found(f'{place}/list.txt', f'{place}/other') == ['photos/b.jpg', 'other/a.jpg']
    monkeypatch.chdir(tmp_path)
    assert found('list.txt') == ['photos/b.jpg', 'other/a.jpg']
