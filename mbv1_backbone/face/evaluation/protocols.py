"""Evaluation by the field's protocols, from embeddings and the files that name pairs, gallery and probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.face.evaluation.metrics import (
    Roc,
    area_under,
    detect_and_identify,
    equal_error_rate,
    identify,
    roc,
    tar_at_far,
    verify_folds,
)
from mbv1_backbone.face.files import read_embeddings, read_identities, read_rows

__all__ = [
    'FARS',
    'FPIRS',
    'Embeddings',
    'Pairs',
    'evaluate_gallery',
    'evaluate_pairs',
    'person_of',
    'read_gallery',
    'read_pairs',
]

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
FPIRS = (1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class Pairs:
    """Pairs of files: LFW's way to ask.

    Attributes:
        files: (N, 2), str.
        same: bool (N,).
        folds: int (N,).
    """

    files: np.ndarray
    same: np.ndarray
    folds: np.ndarray

    def people(self) -> set[str]:
        """The folders of the files, or their names without the number, as in LFW."""
        return {person_of(file) for file in self.files.ravel().tolist()}


class Embeddings:
    """Embeddings by file, of length 1.

    Files are found by their path, or by their bare name where only one has it; without its ending where that
    is another, as that of crops is.

    Args:
        files: Relative paths.
        vectors: (N, D), finite, not zero.
        source: Named in errors.

    Raises:
        InputError: If a vector is zero or not finite.
    """

    def __init__(self, files: Sequence[str], vectors: np.ndarray, source: str = 'embeddings') -> None:
        lengths = np.linalg.norm(np.asarray(vectors, np.float64), axis=1)
        if wrong := [f for f, n in zip(files, lengths, strict=True) if not (np.isfinite(n) and n > 0)]:
            raise InputError(f'{source}: the embedding of {wrong[0]} is zero or not finite')
        self.vectors = (vectors / lengths[:, None]).astype(np.float32)
        self.source = source
        self._rows = {file: row for row, file in enumerate(files)}
        self._names: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        for file in self._rows:
            name = file.rpartition('/')[2]
            self._names.setdefault(name, []).append(file)
            self._stems.setdefault(name.rpartition('.')[0], []).append(file)

    @classmethod
    def read(cls, path: str | Path) -> Embeddings:
        """Of an ``.npz`` file with ``files`` and ``embeddings``."""
        return cls(*read_embeddings(path), source=str(path))

    def of(self, files: Sequence[str]) -> np.ndarray:
        """Vectors float32 (N, D) of files.

        Raises:
            InputError: If one has none; the message counts how many. If files of different folders have the
                same one, which names no folder.
        """
        rows = [self._row(file) for file in files]
        if missing := [file for file, row in zip(files, rows, strict=True) if row < 0]:
            raise InputError(f'{self.source}: no embedding of {missing[0]}, nor of {len(missing) - 1} more')
        first: dict[int, str] = {}
        for file, row in zip(files, rows, strict=True):
            if not _in_one_folder(other := first.setdefault(row, file), file):
                raise InputError(
                    f'{self.source}: one embedding for {other} and {file}, without their folders'
                )
        return self.vectors[rows].reshape(len(files), -1)

    def _row(self, file: str) -> int:
        """Of a file, or of its crop; -1 where there is none, or several may be meant.

        A list may name fewer folders than the embeddings, or more; those that both name must be the same.
        """
        if file in self._rows:
            return self._rows[file]
        name = file.rpartition('/')[2]
        for table, key in (
            (self._names, name),
            (self._stems, name),  # face.jpg.png of face.jpg
            (self._stems, name.rpartition('.')[0]),  # face.png of face.jpg
        ):
            if found := [other for other in table.get(key, ()) if _in_one_folder(file, other)]:
                return self._rows[found[0]] if len(found) == 1 else -1
        return -1


def _in_one_folder(file: str, other: str) -> bool:
    """Whether two paths may be one, relative to different folders.

    Example:
        >>> _in_one_folder('Ada/1.jpg', 'images/Ada/1.png'), _in_one_folder('Ada/1.jpg', 'Eve/1.jpg')
        (True, False)
    """
    folders = [path.split('/')[-2::-1] for path in (file, other)]  # the innermost first
    return all(a == b for a, b in zip(*folders, strict=False))


def read_pairs(path: str | Path) -> Pairs:
    """Pairs of a CSV file (``file_a,file_b,same,fold``), or of LFW's own ``pairs.txt``.

    Without a ``fold``, ten of them are dealt in turn.

    Raises:
        InputError: If the file cannot be read or names no pairs.
    """
    path = Path(path)
    if path.suffix.lower() == '.txt':
        return _read_lfw_pairs(path)
    rows = read_rows(path, ('file_a', 'file_b', 'same'))
    if not rows:
        raise InputError(f'{path}: names no pairs')
    if wrong := [number for number, row in enumerate(rows, 2) if row['same'] not in ('0', '1')]:
        raise InputError(f'{path}, line {wrong[0]}: same must be 0 or 1')
    folds = [row.get('fold') or str(number % 10) for number, row in enumerate(rows)]
    return Pairs(
        np.array([(row['file_a'], row['file_b']) for row in rows]),
        np.array([row['same'] == '1' for row in rows]),
        np.unique(folds, return_inverse=True)[1],
    )


def person_of(file: str) -> str:
    """The person of a file: its folder's name, or LFW's ``PERSON_NNNN.jpg`` without the number."""
    folder, _, name = file.rpartition('/')
    return folder.rpartition('/')[2] or name.rpartition('_')[0]


def evaluate_pairs(embeddings: Embeddings, pairs: Pairs) -> tuple[dict[str, Any], np.ndarray, Roc]:
    """Verification: ten-fold accuracy, TAR at FAR, AUC and EER.

    Returns:
        Figures, scores (N,) of the pairs, and the curve. ``warnings`` in the figures names the rates that
        the impostor pairs are too few for: one of them is already more.

    Raises:
        InputError: If an embedding is missing, or there are no genuine or no impostor pairs.
    """
    vectors = embeddings.of(pairs.files.ravel().tolist())  # at once: a file is one on both sides
    left, right = vectors[::2], vectors[1::2]
    scores = np.einsum('nd,nd->n', left, right)
    try:
        curve = roc(scores, pairs.same)
        folds = verify_folds(scores, pairs.same, pairs.folds)
    except ValueError as error:
        raise InputError(f'pairs: {error}') from error
    impostor = int((~pairs.same).sum())
    figures: dict[str, Any] = dict(
        pairs=len(scores), accuracy=folds.accuracy, accuracy_error=folds.error, auc=area_under(curve)
    )
    figures['eer'] = equal_error_rate(curve)
    figures['threshold'] = float(np.median(folds.thresholds))
    figures |= {f'tar@far={far:g}': tar_at_far(curve, far)[0] for far in FARS}
    few = [f'{far:g}' for far in FARS if far * impostor < 1]
    figures['warnings'] = (
        [f'{impostor} impostor pairs are too few for FAR {", ".join(few)}: the rate there is that of none']
        if few
        else []
    )
    return figures, scores, curve


def evaluate_gallery(
    embeddings: Embeddings,
    gallery: Mapping[str, str],
    probes: Mapping[str, str],
    unknown: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Identification: rank-1 and 5, mAP, and with non-mated probes DIR at FPIR.

    Args:
        embeddings: Of all files.
        gallery: File -> identity.
        probes: File -> identity, of people in the gallery.
        unknown: File -> identity, of people who are not.

    Raises:
        InputError: If an embedding is missing, a probe's person is not in the gallery, or that of a non-mated
            probe is.
    """
    enrolled = set(gallery.values())
    if absent := sorted(set(probes.values()) - enrolled):
        raise InputError(
            f'probes: {absent[0]} is not in the gallery; give people who are not enrolled as unknown'
        )
    if present := sorted(set((unknown or {}).values()) & enrolled):
        raise InputError(f'unknown: {present[0]} is in the gallery')
    if twice := sorted(set(gallery) & set(probes)):
        raise InputError(f'probes: {twice[0]} is an image of the gallery')
    if not gallery or not probes:
        raise InputError('gallery and probes must each name an image')
    places, people = np.array(list(gallery.values())), np.array(list(probes.values()))
    asked = embeddings.of([*gallery, *probes, *(unknown or {})])
    vectors, mated, non_mated = np.split(asked, np.cumsum([len(gallery), len(probes)]))
    scores = mated @ vectors.T
    ranks = identify(scores, places, people)
    figures: dict[str, Any] = dict(gallery=len(gallery), probes=len(probes))
    figures |= {
        'rank1': ranks.within(1),
        'rank5': ranks.within(5),
        'map': float(ranks.average_precision.mean()),
    }
    if unknown:
        found = detect_and_identify(scores, places, people, non_mated @ vectors.T, FPIRS)
        figures['unknown'] = len(unknown)
        figures |= {f'dir@fpir={fpir:g}': rate for fpir, (rate, _) in found.items()}
        few = [f'{fpir:g}' for fpir in FPIRS if fpir * len(unknown) < 1]
        if few:
            figures['warnings'] = [f'{len(unknown)} unknown probes are too few for FPIR {", ".join(few)}']
    return figures


def read_gallery(path: str | Path) -> dict[str, str]:
    """File -> identity, of a CSV file; at least one."""
    files = read_identities(path)
    if not files:
        raise InputError(f'{path}: names no image')
    return files


def _read_lfw_pairs(path: Path) -> Pairs:
    """LFW's format: ``folds  pairs``, then each fold's genuine pairs (name, 2 numbers) and impostor pairs."""
    try:
        lines = [line.split('\t') for line in decode(path.read_bytes()).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: not a readable list of pairs: {error}') from error
    try:
        folds, size = (int(value) for value in (lines[0] if len(lines[0]) == 2 else ['1', lines[0][0]]))
        files, same = [], []
        for line in lines[1:]:
            name_a, first, *rest = line
            name_b, second = (name_a, rest[0]) if len(line) == 3 else (rest[0], rest[1])
            files.append((_lfw_file(name_a, first), _lfw_file(name_b, second)))
            same.append(len(line) == 3)
    except (ValueError, IndexError):
        raise InputError(f"{path}: not in the format of LFW's pairs.txt") from None
    if len(files) != 2 * folds * size:
        raise InputError(f'{path}: says {folds} folds of 2 x {size} pairs, and has {len(files)} pairs')
    return Pairs(np.array(files), np.array(same), np.arange(len(files)) // (2 * size))


def _lfw_file(name: str, number: str) -> str:
    return f'{name}/{name}_{int(number):04d}.jpg'
