"""Making and opening a gallery on Milvus, and what belongs to the whole of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mbv1_backbone.common.errors import InputError, Mbv1Error
from mbv1_backbone.retrieval.checks import check_count, check_number, check_text
from mbv1_backbone.retrieval.connections import GalleryReadOnly
from mbv1_backbone.retrieval.milvus.address import parse_address
from mbv1_backbone.retrieval.milvus.fields import collection_schema, index_params
from mbv1_backbone.retrieval.milvus.server import Server
from mbv1_backbone.retrieval.model_tie import ModelTie
from mbv1_backbone.retrieval.opening import TIED_TO
from mbv1_backbone.retrieval.provenance import check_made_with

__all__ = ['OpenMilvus', 'collection_exists', 'create_collection', 'drop_collection']

_FORMAT = 1
# Of the collection's properties; each holds JSON.
FORMAT, TIED, MADE_WITH, CALIBRATION, INDEX, MAKING = (
    f'mbv1.{name}' for name in ('format', 'tied_to', 'made_with', 'calibration', 'index', 'making')
)
_MAX_DIM = 32_768  # Milvus' own


class OpenMilvus(ModelTie):
    """A gallery's collection; reading and writing build on it.

    Attributes:
        timeout: Seconds to wait for an answer, and for a server that is away.
        read_only: Whether it can only be searched and read.
    """

    def __init__(self, place: str, timeout: float = 10.0, read_only: bool | None = None) -> None:
        """Open a gallery.

        Args:
            place: ``milvus://HOST:PORT/NAME``.
            timeout: Seconds to wait for the server.
            read_only: Whether to write nothing.

        Raises:
            InputError: If there is none, or the collection is something else.
            UnavailableError: If the server does not answer.
        """
        self._address = parse_address(place)
        self.timeout, self.read_only = timeout, bool(read_only)
        self._server = Server(self._address, timeout)
        try:
            self._tied = self._read_tied()
            self._server.load()
        except BaseException:
            self._server.close()
            raise

    def _read_tied(self) -> dict[str, Any]:
        if not self._server.exists():
            raise InputError(f'{self.place}: not a gallery, the server has no collection of that name')
        found = self._server.properties()
        tied = found.get(TIED)
        self._index = str(found.get(INDEX))
        if found.get(FORMAT) != _FORMAT or not isinstance(tied, dict) or set(tied) != set(TIED_TO):
            raise InputError(
                f'{self.place}: not a gallery of this version: its properties have {FORMAT} '
                f'{found.get(FORMAT)!r:.20}, {_FORMAT} is needed'
            )
        return tied

    @property
    def place(self) -> str:
        """Its address."""
        return self._address.text

    def _property(self, key: str) -> Any:
        return self._server.properties().get(key)

    @property
    def made_with(self) -> dict[str, Any]:
        """What people call its model (``model``) and more."""
        return dict(self._property(MADE_WITH) or {})

    def set_made_with(self, made_with: Mapping[str, Any]) -> None:
        """Store what people call its model and more.

        Raises:
            InputError: If it is not what JSON can hold.
        """
        self._check_writable('set made_with')
        self._server.set_properties({MADE_WITH: check_made_with(made_with)})

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What ``calibrate`` found last; None before that."""
        return self._property(CALIBRATION)

    def set_calibration(self, found: Mapping[str, Any]) -> None:
        """Store a calibration: searches use its threshold from now on.

        Raises:
            InputError: If it has no threshold, or one that is no finite number.
        """
        if check_number(found.get('threshold'), 'threshold') is None:
            raise InputError(f'a calibration must have a threshold, got {dict(found)!r:.60}')
        self._check_writable('set calibration')
        self._server.set_properties({CALIBRATION: dict(found)})

    def _check_writable(self, operation: str) -> None:
        if self.read_only:
            raise GalleryReadOnly(f'{self.place}: opened for reading only: no {operation}')

    def close(self) -> None:
        """Close the connection; the gallery cannot be used afterwards."""
        self._server.close()


def create_collection(
    place: str,
    tied: Mapping[str, Any],
    index: str,
    timeout: float,
    made_with: Mapping[str, Any] | None = None,
) -> None:
    """Make the collection of an empty gallery; after an error it is not there.

    Args:
        place: ``milvus://HOST:PORT/NAME``.
        tied: What the gallery is tied to: ``model``, ``preprocessing``, ``dim`` and ``metric``.
        index: Of the vectors, as Milvus calls it.
        timeout: Seconds to wait for the server.
        made_with: What people call what it is tied to.

    Raises:
        InputError: If there is a collection of that name, or a value is wrong.
        UnavailableError: If the server does not answer.
    """
    address = parse_address(place)
    names = check_made_with({} if made_with is None else made_with)
    check_text(tied['model'], 'model')
    if check_count(tied['dim'], 'dim') > _MAX_DIM:
        raise InputError(f'on Milvus dim must be a whole number from 1 to {_MAX_DIM}, got {tied["dim"]!r}')
    properties = {FORMAT: _FORMAT, TIED: dict(tied), MADE_WITH: names, CALIBRATION: None, INDEX: index}
    properties[MAKING] = mine = secrets.token_hex(8)  # tells it from one that another makes meanwhile
    try:
        texts = {key: json.dumps(value, allow_nan=False) for key, value in properties.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f'{place}: a gallery cannot be made: {error}') from error
    server = Server(address, timeout)
    try:
        if server.exists():
            raise InputError(f'{place}: there is a collection of that name already')
        params = index_params(server.library, index, arrays=not server.is_lite)
        schema = collection_schema(server.library, tied['dim'])
        try:
            server.ask('create_collection', schema=schema, properties=texts, consistency_level='Strong')
            server.ask('create_index', index_params=params, sync=False)  # there is nothing to wait for
        except BaseException:
            with suppress(Mbv1Error):
                if server.properties().get(MAKING) == mine:
                    server.ask('drop_collection')
            raise
    finally:
        server.close()


def collection_exists(place: str, timeout: float) -> bool:
    """Whether the server has a collection of that name."""
    server = Server(parse_address(place), timeout)
    try:
        return server.exists()
    finally:
        server.close()


def drop_collection(place: str, timeout: float) -> None:
    """Remove a gallery's collection, if it is there."""
    server = Server(parse_address(place), timeout)
    try:
        server.ask('drop_collection')
    finally:
        server.close()
