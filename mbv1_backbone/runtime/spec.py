"""What an exported file says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbv1_backbone.common.choices import EXPORT_PRECISIONS
from mbv1_backbone.common.errors import InputError

__all__ = ['FORMAT', 'KEY', 'KINDS', 'OPSET', 'ModelSpec', 'with_article']

KINDS = ('embedder', 'detector', 'classifier', 'backbone')
KEY = 'mbv1'  # under which a file says what it is
FORMAT = 1  # of what it says
OPSET = 17  # of the ONNX files that are written
_LISTS = ('size', 'classes', 'category_ids', 'places', 'photos')


def _is_count(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    'kind': (f'be one of {", ".join(KINDS)}', lambda value: value in KINDS),
    'size': ('be two numbers of pixels', lambda value: len(value) == 2 and all(map(_is_count, value))),
    'precision': (f'be one of {", ".join(EXPORT_PRECISIONS)}', lambda value: value in EXPORT_PRECISIONS),
    'fingerprint': ('be text', lambda value: isinstance(value, str)),
    'recipe': ('be an object', lambda value: isinstance(value, dict)),
    'classes': ('be names', lambda value: all(isinstance(name, str) for name in value)),
    'licence': ('be text', lambda value: isinstance(value, str)),
    'dims': ('be a number of values', lambda value: _is_count(value, 0)),
    'multiple': ('be a number of pixels', _is_count),
    'crop': ('lie above 0, up to 1', lambda value: type(value) in (int, float) and 0 < value <= 1),
}


@dataclass(frozen=True)
class ModelSpec:
    """What an exported file says of itself.

    Attributes:
        kind: One of ``KINDS``.
        size: Height and width of the input, in pixels.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        fingerprint: SHA-256 of the weights that it was made of.
        recipe: Of the backbone, as ``dataclasses.asdict`` gives it; a detector's has no ``input_size``.
        classes: Names of a detector's, or of a classifier's where they are known.
        category_ids: Their ids in the data set that it was trained on; empty where they are not known.
        keep_ratio: Whether images keep their shape in the input, at its top left, or are stretched to it.
        dims: Values of an embedding.
        any_size: Whether images may have another size than ``size``; then of multiples of ``multiple``.
        multiple: Of pixels.
        crop: Share of the shorter side that the middle square has, which a classifier sees.
        places: Latitude and longitude of each class, in degrees, where classes are cells of the earth.
        photos: How many photographs each of these cells was made of; none where it is not known.
        settings: SHA-256 of what a detector's config says of its network: anchors, thresholds, suppression.
        licence: Of the weights, where the model zoo says it.
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
    settings: str = ''
    licence: str = ''
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
            InputError: If there is nothing, nothing of this version, or a value is none that it can have.
        """
        try:
            values = dict(json.loads(text or ''))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f'{path}: not a file of mbv1 export') from error
        if values.get('format', FORMAT) != FORMAT:  # another version's may have other values
            raise InputError(f'{path}: format {values["format"]!r:.40}, this version knows {FORMAT}')
        try:
            values.update({key: tuple(values[key]) for key in _LISTS if key in values})
            spec = cls(**values)
            object.__setattr__(spec, 'places', tuple((float(a), float(b)) for a, b in spec.places))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f'{path}: not a file of mbv1 export') from error
        for key, (rule, is_right) in _RULES.items():
            if not is_right(value := getattr(spec, key)):
                raise InputError(f'{path}: says {key}={value!r:.40}, must {rule}')
        return spec


def with_article(kind: str) -> str:
    """``'an embedder'``, ``'a detector'``."""
    return f'{"an" if kind[0] in "aeiou" else "a"} {kind}'
