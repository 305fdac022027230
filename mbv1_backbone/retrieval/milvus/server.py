"""The connection to a Milvus server: asked again while it is away, and one line where it stays away."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mbv1_backbone.common.errors import InputError, NotInstalledError, UnavailableError, one_line
from mbv1_backbone.retrieval.milvus.address import Address

__all__ = ['Server', 'server_timeout']

# Environment variables.
TOKEN, CERTIFICATE, TIMEOUT = 'MBV1_MILVUS_TOKEN', 'MBV1_MILVUS_CA', 'MBV1_MILVUS_TIMEOUT'
_PAUSE = 0.2  # seconds between two tries
_PAGE = 500  # rows that are read at once with embeddings or metadata
_NARROW_PAGE = 8192  # without; Milvus gives 16,384 at most
_NOT_LOADED = 101
_CONNECT_FAILED = 2
_AWAY = ('UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED')  # of gRPC's codes
_CLOSED = ('closed channel', 'should create connection first')  # by another thread, that had failed
_DENIED = ('UNAUTHENTICATED', 'PERMISSION_DENIED')
_LONGEST = 600.0  # seconds for what the server does once: making and loading a collection


class Server:
    """A collection on a server. What is asked of it may be asked twice, and is, while the server is away.

    Attributes:
        address: Where it is.
        timeout: Seconds to wait for an answer, and for a server that is away.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        """Connect.

        Raises:
            NotInstalledError: If pymilvus is not installed.
            UnavailableError: If the server does not answer.
        """
        self.address, self.timeout = address, timeout
        self.library = _library()
        self._client: Any = None
        self._closed = False
        self._opening = threading.Lock()
        self.version = str(self.ask('get_server_version', named=False))

    @property
    def is_lite(self) -> bool:
        """Whether it is Milvus Lite, which has no index of arrays."""
        return 'lite' in self.version.lower()

    def ask(self, method: str, named: bool = True, **values: Any) -> Any:
        """Call a method of pymilvus' client.

        Args:
            method: Its name.
            named: Whether it takes the collection's name.
            values: What else it takes.

        Raises:
            UnavailableError: If the server is away for longer than the timeout.
            InputError: If it refuses.
        """
        if named:
            values['collection_name'] = self.address.collection
        return self._again(lambda left: getattr(self._open(left), method)(timeout=left, **values))

    def rows(self, expression: str, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows that match, by id, some hundred at a time: others may write meanwhile.

        Args:
            expression: Milvus' filter; empty for all.
            fields: Their fields; the id always comes.

        Raises:
            UnavailableError: As of ``ask``; what came before is right all the same.
        """
        size = _PAGE if {'vector', 'metadata'} & set(fields) else _NARROW_PAGE
        last: int | None = None
        while True:
            after = [f'id > {last}'] if last is not None else []
            both = ' and '.join(f'({one})' for one in [*after, expression] if one)
            page = self._again(lambda left, both=both: self._page(both, fields, size, left))  # type: ignore[misc]
            yield from page
            if len(page) < size:
                return
            last = page[-1]['id']

    def _page(
        self, expression: str, fields: Sequence[str], size: int, timeout: float
    ) -> list[dict[str, Any]]:
        """The first rows that match, by id."""
        iterator = self._open(timeout).query_iterator(
            collection_name=self.address.collection,
            batch_size=size,
            limit=size,
            filter=expression,
            output_fields=list(dict.fromkeys(['id', *fields])),
            consistency_level='Strong',
            timeout=timeout,
        )
        try:
            return sorted(map(dict, iterator.next()), key=lambda row: row['id'])
        finally:
            iterator.close()

    def some(self, ids: Sequence[int], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of some ids, as many as there are, without order.

        Args:
            ids: Some hundred.
            fields: Their fields; the id always comes.
        """
        if not ids:
            return []
        listed = ', '.join(map(str, map(int, ids)))
        return self._query(f'id in [{listed}]', list(dict.fromkeys(['id', *fields])))

    def count(self, expression: str = '') -> int:
        """How many rows match."""
        return int(self._query(expression, ['count(*)'])[0]['count(*)'])

    def any(self, expression: str) -> bool:
        """Whether a row matches."""
        return bool(self._query(expression, ['id'], limit=1))

    def _query(self, expression: str, fields: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        found = self.ask('query', filter=expression, output_fields=fields, consistency_level='Strong', **more)
        return list(map(dict, found))

    def exists(self) -> bool:
        """Whether there is a collection of that name."""
        return bool(self.ask('has_collection'))

    def properties(self) -> dict[str, Any]:
        """What was stored with the collection, of JSON."""
        found = self.ask('describe_collection').get('properties') or {}
        values: dict[str, Any] = {}
        for key, text in found.items():
            with suppress(ValueError, TypeError):
                values[key] = json.loads(text)
        return values

    def set_properties(self, values: Mapping[str, Any]) -> None:
        """Store something with the collection, as JSON."""
        texts = {key: json.dumps(value) for key, value in values.items()}
        self.ask('alter_collection_properties', properties=texts)

    def load(self) -> None:
        """Have the collection in memory there."""
        self._again(lambda left: self._load(left), patience=_LONGEST)

    def _load(self, timeout: float) -> None:
        self._open(timeout).load_collection(self.address.collection, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._drop()

    def _open(self, timeout: float) -> Any:
        with self._opening:
            if self._closed:
                raise InputError(f'{self.address}: the gallery is closed')
            if self._client is None:
                certificate = os.environ.get(CERTIFICATE)
                if certificate and not Path(certificate).is_file():
                    raise InputError(f'{CERTIFICATE}: {certificate:.200}: no such file')
                self._client = self.library.MilvusClient(
                    self.address.uri,
                    token=os.environ.get(TOKEN, ''),
                    db_name=self.address.database,
                    timeout=timeout,
                    dedicated=True,
                    grpc_options={'grpc.use_local_subchannel_pool': 1},  # which tries at once after a failure
                    **({'server_pem_path': certificate} if certificate else {}),
                )
            return self._client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a connection that is broken cannot always be closed
                client.close()

    def _again(self, work: Callable[[float], Any], patience: float | None = None) -> Any:
        """Do the work with the seconds that are left, again while the server is away."""
        patience = self.timeout if patience is None else patience
        deadline = time.monotonic() + patience
        unloaded = False
        while True:
            left = max(deadline - time.monotonic(), _PAUSE)
            try:
                if unloaded:
                    self._load(left)
                return work(left)
            except Exception as error:  # pymilvus and gRPC have no common base
                if not _is_theirs(error):
                    raise
                unloaded = unloaded or _code(error) == str(_NOT_LOADED)  # a server that was started anew
                if not (_code(error) == str(_NOT_LOADED) or _is_away(error)):
                    raise self._refused(error) from error
                self._drop()
                if time.monotonic() + _PAUSE >= deadline:
                    raise UnavailableError(
                        f'{self.address}: the server does not answer within {patience:g} seconds'
                        f'{_excuse(error)}'
                    ) from error
                time.sleep(_PAUSE)

    def _refused(self, error: Exception) -> Exception:
        said = one_line(error)
        if _code(error) in _DENIED or 'auth check' in said:
            return InputError(
                f'{self.address}: the server lets nobody in without the right token: '
                f'put it into the environment variable {TOKEN}'
            )
        message = getattr(error, 'message', None)
        words = ' '.join(str(message or said).split())
        return InputError(f'{self.address}: the server refuses: {words:.300}')


def server_timeout(timeout: float | None) -> float:
    """Seconds to wait for a server: what is given, else ``MBV1_MILVUS_TIMEOUT``, else 10.

    Raises:
        InputError: If the environment variable is no positive number.
    """
    if timeout is not None:
        return timeout
    said = os.environ.get(TIMEOUT) or '10'
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < _LONGEST:
        raise InputError(f'{TIMEOUT} must be seconds, above 0 and below {_LONGEST:g}, got {said!r:.40}')
    return seconds


def _library() -> Any:
    try:
        with patch('logging.config.dictConfig'):  # by which the import closes the log files of the program
            import pymilvus
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            'galleries on Milvus need pymilvus: pip install mbv1-backbone[milvus]'
        ) from error
    for name in ('pymilvus', 'pymilvus.milvus_client'):  # its tracebacks of what is told in one line
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return pymilvus


def _is_theirs(error: Exception) -> bool:
    modules = {kind.__module__.partition('.')[0] for kind in type(error).__mro__}
    return bool(modules & {'pymilvus', 'grpc'}) or (
        isinstance(error, ValueError) and 'closed channel' in str(error)
    )


def _is_away(error: Exception) -> bool:
    """Whether the server may answer the same question later, as it says itself or by not answering."""
    later = getattr(error, 'retriable', False) is True  # one that starts, or moves data to another node
    return _code(error) in _AWAY or any(one in str(error) for one in _CLOSED) or later


def _excuse(error: Exception) -> str:
    """What a server that is there says of why it does not answer yet."""
    said = ' '.join(str(getattr(error, 'message', '')).split())
    return f', it says: {said:.300}' if getattr(error, 'retriable', False) is True and said else ''


def _code(error: Exception) -> str:
    """What kind of failure it is: a name of gRPC's, or a number of Milvus'."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:  # pymilvus raises errors from themselves
        seen.append(cause)
        cause = cause.__cause__
    codes = [_own_code(one) for one in seen]
    return next((code for code in codes if code in _DENIED), codes[0])


def _own_code(error: BaseException) -> str:
    code = getattr(error, 'code', None)
    code = code() if callable(code) else code
    if code == _CONNECT_FAILED:
        return _AWAY[0]
    for name in (*_AWAY, *_DENIED):  # pymilvus puts gRPC's errors into the message
        if name in str(getattr(code, 'name', '')) or f'StatusCode.{name}' in str(error):
            return name
    return str(code)
