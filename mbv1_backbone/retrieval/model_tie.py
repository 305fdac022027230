"""What a gallery of any kind is tied to: one model, and one way to prepare images for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.provenance import difference, same_identity

__all__ = ['ModelTie']


class ModelTie(ABC):
    """A gallery's model: its name, and the refusal of every other one."""

    _tied: dict[str, Any]

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the gallery is, as its verbs take it."""

    @property
    @abstractmethod
    def made_with(self) -> dict[str, Any]:
        """What people call its model (``model``) and more."""

    @property
    def dim(self) -> int:
        """Values in an embedding."""
        return int(self._tied['dim'])

    @property
    def model(self) -> str:
        """Fingerprint of the model that made the embeddings."""
        return str(self._tied['model'])

    @property
    def model_identity(self) -> dict[str, Any]:
        """What never changes: ``model``, ``preprocessing``, ``dim`` and ``metric``."""
        return dict(self._tied)

    def check_model(self, model: str, preprocessing: Mapping[str, Any] | None = None) -> None:
        """Check that a model is the gallery's.

        Raises:
            InputError: If it is another, or prepares images otherwise; the message says which is which.
        """
        if model != self.model:
            name = f'{called} ' if (called := self.made_with.get('model')) else ''
            raise InputError(
                f'gallery {self.place} was made with model {name}{self.model[:16]}, this is {model[:16]}; '
                'reembed moves it to another model'
            )
        mine = self._tied['preprocessing']
        if preprocessing is not None and not same_identity(preprocessing, mine):
            here, there = difference(mine, preprocessing)
            raise InputError(
                f'gallery {self.place} was made with {here}, this is {there}; reembed makes one with that'
            )

    def check_model_identity(self, identity: Mapping[str, Any], whose: str) -> None:
        """Check that somebody's ``model_identity`` is this gallery's.

        Raises:
            InputError: If it is not; the message says which is which.
        """
        for key, value in self._tied.items():
            if not same_identity(identity.get(key), value):
                raise InputError(
                    f'{whose} has {key} {identity.get(key)!r:.60}, gallery {self.place} has {value!r:.60}'
                )
