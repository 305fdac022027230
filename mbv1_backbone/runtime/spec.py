"""What an exported file says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbv1_backbone.common.errors import InputError

__all__ = ['FORMAT', 'KEY', 'KINDS', 'OPSET', 'ModelSpec', 'with_article']

KINDS = ('embedder', 'detector', 'classifier', 'backbone')
KEY = 'mbv1'  # under which a file says what it is
FORMAT = 1  # of what it says
OPSET = 17  # of the ONNX files that are written


@dataclass(frozen=True)
class ModelSpec:
    """What an exported file says of itself.

    Attributes:
        kind: One of ``KINDS``.
        size: Height and width of the input, in pixels.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        fingerprint: SHA-256 of the weights that it was made of.
        recipe: Of the backbone, as ``dataclasses.asdict`` gives it.
        classes: Names of a detector's, or of a classifier's where they are known.
        category_ids: Their ids in the data set that it was trained on; empty where they are not known.
        keep_ratio: Whether images keep their shape in the input, at its top left, or are stretched to it.
        dims: Values of an embedding.
        any_size: Whether images may have another size than ``size``; then of multiples of ``multiple``.
        multiple: Of pixels.
        crop: Share of the shorter side that the middle square has, which a classifier sees.
        places: Latitude and longitude of each class, in degrees, where classes are cells of the earth.
        photos: How many photographs each of these cells was made of; none where it is not known.
    """

    kind: str
    size: tuple[int, int]
    precision: str
    fingerprint: str
    recipe: dict[str, Any]
    classes: tuple[str, ...] = ()
    category_ids: tuple[int | str, ...] = ()
    keep_ratio: bool = False
    dims: int = 0
    any_size: bool = False
    multiple: int = 1
    crop: float = 1.0
    places: tuple[tuple[float, float], ...] = ()
    photos: tuple[int, ...] = ()
    format: int = FORMAT

    @property
    def a_kind(self) -> str:
        """The kind with its article, for messages."""
        return with_article(self.kind)

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str | None, path: Path) -> ModelSpec:
        """Read it.

        Raises:
            InputError: If there is nothing, or nothing of this version.
        """
        try:
            values = json.loads(text or '')
            lists = ('size', 'classes', 'category_ids', 'places', 'photos')
            values.update({key: tuple(values[key]) for key in lists if key in values})
            spec = cls(**values)
            object.__setattr__(spec, 'places', tuple((float(a), float(b)) for a, b in spec.places))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f'{path}: not a file of mbv1 export') from error
        if spec.format != FORMAT:
            raise InputError(f'{path}: format {spec.format}, this version knows {FORMAT}')
        if type(spec.crop) not in (int, float) or not 0 < spec.crop <= 1:
            raise InputError(f'{path}: says crop={spec.crop!r:.40}, must lie above 0, up to 1')
        return spec


def with_article(kind: str) -> str:
    """``'an embedder'``, ``'a detector'``."""
    return f'{"an" if kind[0] in "aeiou" else "a"} {kind}'
