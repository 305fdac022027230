"""Splits by people: training, development and test share nobody, and the test's pairs and probes follow."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically

__all__ = ['split_people', 'write_protocol']


def split_people(people: Sequence[str], share: float, salt: str = '') -> tuple[list[str], list[str]]:
    """Deal people into training and held out, by a hash of their names: nobody moves when others join.

    Args:
        people: Names.
        share: Of people held out, in (0, 1).
        salt: Another one deals anew.

    Raises:
        InputError: If the share is out of its range, or a side would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f'share must lie between 0 and 1, got {share}')
    names = sorted(set(people))
    held = [name for name in names if _fraction(salt + name) < share]
    training = sorted(set(names) - set(held))
    if not held or not training:
        raise InputError(f'{len(names)} people are too few to hold out a share of {share:g}')
    return training, held


def write_protocol(
    folder: Path, files: Mapping[str, str], training: Sequence[str], held: Sequence[str], seed: int = 0
) -> dict[str, int]:
    """Write the lists that training and evaluation take.

    ``train_identities.txt``, ``dev_identities.txt``; ``dev_pairs.csv``, ten folds with as many genuine pairs
    as impostor pairs, no person in two folds; ``dev_gallery.csv`` with an image of each second person of
    several images, ``dev_probes_known.csv`` with their others, ``dev_probes_unknown.csv`` with people not
    enrolled.

    Args:
        folder: Where to.
        files: File -> identity.
        training: People.
        held: People.
        seed: Of the draw.

    Returns:
        Lines of each file.

    Raises:
        InputError: If somebody is in both, or too few of those held out have two images.
    """
    if both := set(training) & set(held):
        raise InputError(f'{min(both)} is in training and held out')
    by_person: dict[str, list[str]] = {name: [] for name in held}
    for file, name in sorted(files.items()):
        if name in by_person:
            by_person[name].append(file)
    rng = np.random.default_rng(seed)
    order = [sorted(by_person)[i] for i in rng.permutation(len(by_person))]
    several = [name for name in order if len(by_person[name]) > 1]
    if len(several) < 10 or len(order) < 20:
        raise InputError(
            'ten folds need 20 people held out, 10 of them with two images; '
            f'there are {len(order)} and {len(several)}: more people, or a larger share of them, are needed'
        )
    enrolled = set(several[::2])
    known = [(by_person[name][0], name) for name in several[::2]]
    probes = [(file, name) for name in several[::2] for file in by_person[name][1:]]
    non_enrolled = [(file, name) for name in order if name not in enrolled for file in by_person[name]]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
        'dev_pairs.csv': (('file_a', 'file_b', 'same', 'fold'), _pairs(by_person, order, rng)),
        'dev_gallery.csv': (('file', 'identity'), known),
        'dev_probes_known.csv': (('file', 'identity'), probes),
        'dev_probes_unknown.csv': (('file', 'identity'), non_enrolled),
    }
    for name, people in (('train_identities.txt', training), ('dev_identities.txt', held)):
        write_atomically(folder / name, ''.join(f'{person}\n' for person in people).encode())
    for name, (columns, rows) in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([columns, *rows])
        write_atomically(folder / name, text.getvalue().encode())
    return {name: len(rows) for name, (_, rows) in tables.items()}


def _pairs(
    by_person: Mapping[str, Sequence[str]], order: Sequence[str], rng: np.random.Generator
) -> list[tuple[str, str, int, int]]:
    """Of each fold's own people: at most ten genuine pairs a person, and as many impostor pairs."""
    rows = []
    for fold in range(10):
        people = [name for i, name in enumerate(order) if i % 10 == fold]
        genuine: list[tuple[str, str]] = []
        for name in people:
            files = by_person[name]
            every = [(a, b) for i, a in enumerate(files) for b in files[i + 1 :]]
            genuine += [every[i] for i in rng.permutation(len(every))[:10]]
        impostor: set[tuple[str, str]] = set()
        possible = sum(
            len(by_person[a]) * len(by_person[b]) for i, a in enumerate(people) for b in people[:i]
        )
        while len(impostor) < min(len(genuine), possible):
            first, second = rng.choice(len(people), 2, replace=False)
            impostor.add(
                tuple(sorted(str(rng.choice(by_person[people[i]])) for i in (first, second)))  # type: ignore[arg-type]
            )
        rows += [(a, b, 1, fold) for a, b in genuine] + [(a, b, 0, fold) for a, b in sorted(impostor)]
    return rows


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big') / 2**64
