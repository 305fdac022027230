"""Distillation from teachers that are run once: what they say of faces, mirrored and blended ones, in a file.

A teacher that is run on the very picture that the student sees teaches its function, not its answers on some
photographs (arXiv:2106.05237). Here the pictures are drawn beforehand, a recipe each, so that large teachers
cost their time once, for all students.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, TRANSFORMS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.files import read_archive
from mbv1_backbone.face.geometry import fit_square

__all__ = [
    'DistillationDataset',
    'LoadRecipe',
    'Recipes',
    'Targets',
    'Teacher',
    'join_embeddings',
    'run_teachers',
]

_VERSION = 1
Teacher = Callable[[np.ndarray], np.ndarray]  # faces, RGB uint8 (N, S, S, 3), to embeddings (N, D)


@dataclass(frozen=True)
class Recipes:
    """How pictures are drawn from files of faces.

    Attributes:
        files: N names, relative to a folder.
        partners: N names of faces that are blended in, empty for none.
        shares: float32 (N,), of the partner, 0 for none.
        mirrored: bool (N,).
    """

    files: np.ndarray
    partners: np.ndarray
    shares: np.ndarray
    mirrored: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    @classmethod
    def of_files(
        cls, files: Sequence[str], blends: int = 0, share: tuple[float, float] = (0.2, 0.8), seed: int = 0
    ) -> Recipes:
        """Every face as it is and mirrored, and blends of two.

        Args:
            files: At least two where there are blends.
            blends: How many, each of a random pair, half of them mirrored.
            share: Least and greatest share of the partner.
            seed: Of the pairs.
        """
        if blends and len(files) < 2:
            raise InputError('blends need at least two faces')
        generator = np.random.default_rng(seed)
        first = generator.integers(0, len(files), blends)
        second = (first + generator.integers(1, max(2, len(files)), blends)) % len(files)
        names, plain = np.array(files, dtype=str), len(files)
        return cls(
            np.concatenate([names, names, names[first]]),
            np.concatenate([np.zeros(2 * plain, names.dtype), names[second]]),
            np.concatenate([np.zeros(2 * plain), generator.uniform(*share, blends)]).astype(np.float32),
            np.concatenate([np.arange(2 * plain) >= plain, generator.random(blends) < 0.5]),
        )

    def draw(self, index: int, folder: str | os.PathLike[str], size: int) -> np.ndarray:
        """A picture, uint8 (size, size, 3) in RGB.

        Args:
            index: 0..N-1.
            folder: Of the files.
            size: Side, in pixels.

        Raises:
            InputError: If a file cannot be read.
        """
        partner = str(self.partners[index])
        other = os.path.join(folder, partner) if partner else ''
        path = os.path.join(folder, str(self.files[index]))
        return draw(path, other, float(self.shares[index]), bool(self.mirrored[index]), size)


def draw(path: str, partner: str, share: float, mirrored: bool, size: int) -> np.ndarray:
    """A face, perhaps blended with a partner and mirrored, uint8 (size, size, 3) in RGB.

    Args:
        path: Image file.
        partner: Image file that is blended in, or empty.
        share: Of the partner, 0..1.
        mirrored: Whether left and right change places.
        size: Side, in pixels.

    Raises:
        InputError: If a file cannot be read.
    """
    image = fit_square(read_image(path), size)
    if partner:
        image = cv2.addWeighted(image, 1 - share, fit_square(read_image(partner), size), share, 0)
    return np.ascontiguousarray(image[:, ::-1] if mirrored else image)


@dataclass(frozen=True)
class Targets:
    """What a student is to say of each picture.

    Attributes:
        recipes: N pictures.
        embeddings: float32 (N, D), of length 1.
        teachers: Names of those who were asked.
    """

    recipes: Recipes
    embeddings: np.ndarray
    teachers: tuple[str, ...]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file without pickle, atomically."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            version=np.int64(_VERSION),
            teachers=np.array(self.teachers, dtype=str),
            embeddings=self.embeddings.astype(np.float16),
            **vars(self.recipes),
        )
        write_atomically(path, buffer.getvalue())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Targets:
        """Read what ``write`` has written.

        Raises:
            InputError: If it cannot be read, is of a later version, or its arrays do not fit each other.
        """
        names = ('files', 'partners', 'shares', 'mirrored')
        content = read_archive(Path(path), ('version', 'teachers', 'embeddings', *names))
        if int(content['version']) != _VERSION:
            raise InputError(f'{path}: version {int(content["version"])}, this release reads {_VERSION}')
        embeddings = content['embeddings'].astype(np.float32)
        if embeddings.ndim != 2 or any(content[name].shape != (len(embeddings),) for name in names):
            raise InputError(f'{path}: its arrays must be as long as embeddings, {len(embeddings)}')
        if not np.isfinite(embeddings).all():
            raise InputError(f'{path}: an embedding is not finite')
        recipes = Recipes(*(content[name] for name in names))
        return cls(recipes, embeddings, tuple(content['teachers'].astype(str).tolist()))


def run_teachers(
    teachers: Mapping[str, Teacher],
    recipes: Recipes,
    folder: str | os.PathLike[str],
    size: int = 160,
    dims: int | None = 128,
    batch_size: int = 16,
    progress: Callable[[int], object] | None = None,
) -> Targets:
    """Ask teachers about every picture.

    Args:
        teachers: By name.
        recipes: Of the pictures.
        folder: Of the faces.
        size: Side of the pictures, in pixels.
        dims: Of the targets; see ``join_embeddings``.
        batch_size: Pictures at once.
        progress: Called with the number of pictures that are done.

    Raises:
        InputError: If a file cannot be read, or a teacher's embedding is zero or not finite.
    """
    said: dict[str, list[np.ndarray]] = {name: [] for name in teachers}
    for start in range(0, len(recipes), batch_size):
        rows = range(start, min(start + batch_size, len(recipes)))
        faces = np.stack([recipes.draw(row, folder, size) for row in rows])
        for name, teacher in teachers.items():
            said[name].append(_checked(teacher(faces), name, recipes.files[rows.start : rows.stop]))
        if not start:
            _check_dims(dims, sum(some[0].shape[1] for some in said.values()))
        if progress:
            progress(len(rows))
    plain = recipes.shares == 0
    return Targets(
        recipes, join_embeddings([np.concatenate(v) for v in said.values()], plain, dims), tuple(teachers)
    )


def join_embeddings(
    embeddings: Sequence[np.ndarray], basis: np.ndarray, dims: int | None = 128
) -> np.ndarray:
    """One embedding a face from several teachers': side by side, each of length 1, in their main directions.

    A cosine of the joined ones is the mean of the teachers' cosines, as far as ``dims`` directions hold it.

    Args:
        embeddings: Of each teacher, (N, D), not zero.
        basis: bool (N,): the faces whose main directions (uncentred) are taken.
        dims: Directions that are kept; None keeps all as they are.

    Returns:
        float32 (N, dims) of length 1.

    Raises:
        InputError: If there are fewer than ``dims`` directions.
    """
    joined = np.concatenate([_normalised(some) for some in embeddings], 1)
    if dims is None or (len(embeddings) == 1 and joined.shape[1] == dims):
        return _normalised(joined)
    _check_dims(dims, joined.shape[1])
    moments = joined[basis].T.astype(np.float64) @ joined[basis]
    directions = np.linalg.eigh(moments)[1][:, ::-1][:, :dims]
    return _normalised(joined @ directions.astype(np.float32))


def _checked(embeddings: np.ndarray, teacher: str, files: np.ndarray) -> np.ndarray:
    """What a teacher said of files, if it can be learned."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if (wrong := ~(np.isfinite(lengths) & (lengths > 0))).any():
        raise InputError(f'{teacher}: its embedding of {files[wrong.argmax()]} is zero or not finite')
    return embeddings


def _check_dims(dims: int | None, values: int) -> None:
    if dims is not None and dims > values:
        raise InputError(f'dims must be at most {values}, the values of all teachers, got {dims}')


def _normalised(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@DATASETS.register_module()
class DistillationDataset(BaseDataset):
    """Pictures and what teachers say of them, from ``mbv1 faces targets``.

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the faces.
        targets_file: ``.npz``.
        pipeline: Steps; the first is ``LoadRecipe``.
        kwargs: mmengine's.

    Attributes:
        identities: Names of the folders that the faces lie in, at any depth, for ``DisjointPeopleHook``.

    Raises:
        InputError: If something is missing; the message names it.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        targets_file: str = '',
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.targets_file = targets_file
        prefix = dict(data_prefix or dict(img='images'))
        super().__init__(data_root=data_root, data_prefix=prefix, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict a picture: what ``LoadRecipe`` needs, ``file`` and ``teacher``."""
        folder = Path(self.data_prefix['img'])
        targets = Targets.read(Path(self.data_root, self.targets_file))
        recipes = targets.recipes
        used = {*np.unique(recipes.files).tolist(), *np.unique(recipes.partners).tolist()} - {''}
        if missing := sorted(name for name in used if not (folder / name).is_file()):
            raise InputError(
                f'{self.targets_file}: {missing[0]} is not in {folder}, nor {len(missing) - 1} more'
            )
        self.identities = tuple(sorted({folder for name in used for folder in Path(name).parts[:-1]}))
        return [
            dict(
                img_path=str(folder / str(recipes.files[row])),
                file=str(recipes.files[row]),
                partner_path=str(folder / partner) if (partner := str(recipes.partners[row])) else '',
                share=float(recipes.shares[row]),
                mirrored=bool(recipes.mirrored[row]),
                teacher=targets.embeddings[row],
            )
            for row in range(len(recipes))
        ]


@TRANSFORMS.register_module()
class LoadRecipe:
    """Draw the picture that a ``DistillationDataset`` asks for.

    Args:
        size: Side, in pixels.

    Raises:
        InputError: If a file cannot be read, with its path.
    """

    def __init__(self, size: int = 160) -> None:
        self.size = size

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, uint8 (size, size, 3) in B, G, R."""
        image = draw(
            results['img_path'], results['partner_path'], results['share'], results['mirrored'], self.size
        )
        results['img'] = np.ascontiguousarray(image[..., ::-1])
        return results
