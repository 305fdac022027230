"""What is kept under a key of the code is made anew when the code is another."""

from mbv1_backbone.common import code


def test_every_edit_of_a_room_changes_its_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(code, '_PACKAGE', tmp_path)
    for room in ('a', 'b'):
        (tmp_path / room / 'inner').mkdir(parents=True)
        (tmp_path / room / 'inner' / 'x.py').write_text('1')
    hash_of = code.hash_of_code.__wrapped__
    found = [hash_of(('a',)), hash_of(('b',))]
    (tmp_path / 'a' / 'inner' / 'x.py').write_text('2')
    found.append(hash_of(('a',)))
    (tmp_path / 'a' / 'inner' / 'x.py').rename(tmp_path / 'a' / 'x.py')
    found.append(hash_of(('a',)))
    assert hash_of(('b',)) == found[1]
    (tmp_path / 'beside.py').write_text('')
    found.append(hash_of(('a',)))
    assert len(set(found)) == 5
