"""Weights with what belongs to them, and the file that keeps both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.models.recipe import Recipe
from mbv1_backbone.weights.rules import Move

__all__ = ['Weights', 'described', 'fingerprint', 'read_safetensors', 'read_weights', 'write_weights']

_KEY = 'mbv1_backbone'  # of our JSON in a safetensors file's metadata


@dataclass(frozen=True)
class Weights:
    """Imported weights.

    Attributes:
        state: Tensors by our names: ``rows.*`` and ``head.fc.*`` of a classifier, ``backbone.*``, ``neck.*``
            and ``bbox_head.*`` of a detector.
        recipe: What they ask of network and input.
        moves: What went where; empty once they come from our own file.
        classes: Names of a detector's or a classifier's classes, without the background, where known.
        category_ids: Ids of these classes in the data set that it was trained on, where they are known.
        kind: Of the network, a word of ``KINDS``; None where it is not known, as in older files.
        quantisation: Of a network that was trained for int8, what its checkpoint's ``meta`` says of it.
    """

    state: dict[str, Tensor]
    recipe: Recipe
    moves: Sequence[Move] = ()
    classes: tuple[str, ...] | None = None
    category_ids: tuple[int | str, ...] | None = None
    kind: str | None = None
    quantisation: dict[str, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tensors: the same however they are stored; computed once."""
        return fingerprint(self.state)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of a state dict, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(weights: Weights, path: str | os.PathLike[str]) -> None:
    """Write a ``.safetensors`` file, atomically, with the recipe and the fingerprint in its metadata.

    Raises:
        InputError: If the path does not end in ``.safetensors``.
    """
    if Path(path).suffix != '.safetensors':
        raise InputError(f'weights are written to a .safetensors file, got {path}')
    about = dict(
        recipe=asdict(weights.recipe),
        fingerprint=weights.fingerprint,
        classes=weights.classes or None,
        category_ids=weights.category_ids or None,
        kind=weights.kind,
        quantisation=weights.quantisation,
    )
    state = {name: tensor.contiguous() for name, tensor in weights.state.items()}
    write_atomically(path, save(state, metadata={_KEY: json.dumps(about), 'format': 'pt'}))


def read_weights(path: str | os.PathLike[str]) -> Weights | None:
    """Read a file of ``write_weights``; None where it is a safetensors file of someone else's.

    Raises:
        DamagedFileError: If the file is damaged, or its tensors are not those of its fingerprint.
    """
    return described(*read_safetensors(path), path)


def described(
    state: dict[str, Tensor], metadata: Mapping[str, str], path: str | os.PathLike[str]
) -> Weights | None:
    """What has been read of a file of ``write_weights``; None where the file is someone else's.

    Args:
        state: Its tensors.
        metadata: Its metadata.
        path: For messages.

    Raises:
        DamagedFileError: If the description is damaged, or the tensors are not those of its fingerprint.
    """
    if _KEY not in metadata:
        return None
    try:
        about = json.loads(metadata[_KEY])
        recipe = Recipe.from_dict(about['recipe'])
        stated = str(about['fingerprint'])
        classes = about.get('classes') and tuple(map(str, about['classes']))
        category_ids = about.get('category_ids') and tuple(about['category_ids'])
        kind = about.get('kind') and str(about['kind'])
        rounded = about.get('quantisation') and dict(about['quantisation'])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f'{path}: its description is damaged: {error}') from error
    weights = Weights(
        state, recipe, classes=classes, category_ids=category_ids, kind=kind, quantisation=rounded
    )
    if weights.fingerprint != stated:
        raise DamagedFileError(f'{path}: its tensors are not those of its fingerprint {stated[:16]}')
    return weights


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with safe_open(os.fspath(path), 'pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DamagedFileError(f'{path}: not a readable safetensors file: {error}') from error
