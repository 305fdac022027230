"""What people's folders and lists say of whom to enrol, and what is left out."""

import os

import pytest

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.face.files import read_identities, scan_people
from mbv1_backbone.face_gallery.sources import read_sources


@pytest.fixture
def folder(tmp_path):
    for name in ('Ana/1.jpg', 'Ana/2.jpg', 'Bob/1.jpg'):
        (tmp_path / 'people' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'people' / name).write_text(name)
    return tmp_path / 'people'


def listed(folder, text, encoding='utf-8'):
    table = folder.parent / 'list.csv'
    table.write_bytes(text.encode(encoding))
    found = read_sources(table, folder)
    return [(source.file, source.identity) for source in found], found.left_out


def test_a_bad_row_is_left_out_with_its_line(folder):
    long = 'x' * 70000
    endless = 'y' * 140000  # more than Python's csv takes
    rows = [
        'Ana/1.jpg,Ana,1',
        'Ana/2.jpg,Ana,1,spare',
        ',Ana,1',
        f'Ana/1.jpg,{"n" * 5000},1',
        'Ana/2.jpg,Ana\0,1',
    ]
    rows += [
        '../x.jpg,Ana,1',
        f'Ana/2.jpg,Ana,{long}',
        f'Ana/2.jpg,Ana,{endless}',
        '',
        'Bob/1.jpg,Bob',
        '" ",Bob,1',
    ]
    found, left_out = listed(folder, 'file,identity,note\n' + '\n'.join(rows))
    assert found == [('Ana/1.jpg', 'Ana'), ('Bob/1.jpg', 'Bob')]
    reasons = {
        3: 'has 4 cells, the first line names 3',
        4: 'file is empty',
        5: 'identity must be text of 1 to 4096 characters',
        6: 'NUL',
        7: 'leads out of',
        8: 'metadata must be at most',
        9: 'field larger than field limit',
        12: 'file is empty',
    }
    assert set(left_out) == {f'line {number}' for number in reasons}
    for number, reason in reasons.items():
        assert reason in left_out[f'line {number}']


@pytest.mark.parametrize(
    ('text', 'encoding'),
    [
        ('file;identity\nAna/1.jpg;Ana\nAna/2.jpg;Ana\n', 'utf-8'),
        ('identity\tfile\nAna\tAna/1.jpg\nAna \tAna/2.jpg\n', 'utf-8-sig'),
        ('File,IDENTITY\r\nAna\\1.jpg, Ana\r\nAna\\2.jpg,"Ana "\r\n', 'utf-8-sig'),
        ('sep=;\nfile;identity\n2.jpg;Ana\nAna/1.jpg;Ana\n', 'utf-16'),
        ('file,identity,,\nAna/1.jpg,Ana,,\n./Ana/2.jpg,Ana,,\n,,,\n', 'utf-8'),
    ],
    ids=['semicolons', 'tabs', 'windows', 'excel', 'trailing-commas'],
)
def test_lists_as_people_write_them(folder, text, encoding):
    found, left_out = listed(folder, text, encoding)
    assert sorted(found) == [('Ana/1.jpg', 'Ana'), ('Ana/2.jpg', 'Ana')]
    assert left_out == {}


def test_a_quotation_mark_that_is_not_closed_swallows_no_row(folder):
    rows = ['Ana/1.jpg,"Ana,1', 'Ana/2.jpg,Ana,"two', 'lines"', 'Bob/1.jpg,Bob,"no end', 'Ana/1.jpg,Eve,x']
    found, left_out = listed(folder, 'file,identity,note\n' + '\n'.join(rows))
    assert found == [('Ana/2.jpg', 'Ana'), ('Ana/1.jpg', 'Eve')]
    reason = 'a quotation mark is not closed'
    assert left_out == {'line 2': reason, 'line 5': reason}


def test_one_name_in_two_forms_is_one_person(folder):
    found, _ = listed(folder, 'file,identity\nAna/1.jpg,Jos\u00e9\nAna/2.jpg,Jose\u0301\n')
    assert {name for _, name in found} == {'Jos\u00e9'}


def test_numbers_of_a_list_are_numbers(folder):
    table = folder.parent / 'list.csv'
    for true in ('true', 'TRUE', 'True'):  # JSON's, a spreadsheet's, Python's
        table.write_text(f'file,identity,year,code,ok,none\nAna/1.jpg,Ana,1843,007,{true},\n')
        [source] = read_sources(table, folder)
        assert source.metadata == dict(year=1843, code='007', ok=True)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('datei;person\nx;y\n', "there is no file in its first line, 'datei;person'"),
        ('file,identity,year,year\nx,y,1,2\n', 'two columns are named year'),
        ('file,identity,folder\nx,y,z\n', 'a column must not be named folder'),
        ('file,identity\nx,\n', 'line 2: identity is empty'),
    ],
)
def test_a_list_of_nothing_is_one_line(folder, text, message):
    with pytest.raises(InputError, match=message):
        listed(folder, text)
    with pytest.raises(InputError, match='save it as UTF-8'):
        listed(folder, 'file,identity\nx,Jos\u00e9\n', 'cp1252')


def test_lists_to_train_on_are_read_alike_and_refuse_a_bad_row(folder):
    table = folder.parent / 'list.csv'
    table.write_text('File;Identity\nAna\\1.jpg;Ana \n')
    assert read_identities(table) == {'Ana/1.jpg': 'Ana'}
    table.write_text('file,identity\na.jpg,Ana\nb.jpg,Bob,spare\n')
    with pytest.raises(InputError, match='line 3: has 3 cells'):
        read_identities(table)


def test_folders_that_are_no_people_are_counted(folder, caplog):
    for name in ('.thumbnails/1.jpg', 'Ana/2024/3.jpg', 'loose.jpg', os.fsdecode(b'\xff\xfe') + '/1.jpg'):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name.encode('utf-8', 'replace').decode())
    (folder / 'Empty').mkdir()
    (folder / ' ').mkdir()
    (folder / ' ' / '1.jpg').write_text('x')
    assert sorted(set(scan_people(folder).values())) == [' ', 'Ana', 'Bob']
    for reason in ('1 hidden', '1 too deep', '1 loose', '1 names that are no', '1 folders without images'):
        assert reason in caplog.text
    found = read_sources(folder)
    assert {source.identity for source in found} == {'Ana', 'Bob'}
    assert list(found.left_out) == [' /1.jpg', r"'\udcff\udcfe'"]
