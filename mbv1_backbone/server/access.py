"""Who may ask for what: keys, scopes, and no pages of other sites."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.server.keys import KeyFile
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.service import Service

__all__ = ['ADMIN', 'READ', 'WRITE', 'deadline_of', 'service_of']

_BEARER = HTTPBearer(auto_error=False, description='a key of mbv1 serve-keys')
Given = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def service_of(request: Request) -> Service:
    """The service that a request is to."""
    service: Service = request.app.state.service
    return service


def deadline_of(request: Request) -> float:
    """Until when a request must be answered, by ``time.monotonic``."""
    deadline: float = request.scope['mbv1_deadline']
    return deadline


def _needs(scope: str) -> Callable[..., Awaitable[None]]:
    async def check(request: Request, given: Given) -> None:
        keys = service_of(request).keys
        if keys is not None:
            allow(keys, given)
        _check_queries(request)

    def allow(keys: KeyFile, given: HTTPAuthorizationCredentials | None) -> None:
        try:
            key = None if given is None else keys.find(given.credentials)
        except InputError:
            raise Refused(503, 'unavailable', 'the file of keys cannot be read') from None
        if key is None:
            wrong = 'is needed' if given is None else 'is not known'
            message = f'Authorization: a key {wrong} (Bearer KEY)'
            raise Refused(401, 'no_key', message, headers={'WWW-Authenticate': 'Bearer'})
        if not key.may(scope):
            raise Refused(
                403, 'scope', f'Authorization: this needs the scope {scope}, the key has {key.scope}'
            )

    return check


def _check_queries(request: Request) -> None:
    """A parameter that is misspelt would be left out without a word, and its default taken."""
    if not request.scope['query_string']:
        return
    described = request.app.openapi()['paths'].get(request.scope['route'].path, {})
    values = described.get(request.method.lower(), {}).get('parameters', ())
    known = [value['name'] for value in values if value['in'] == 'query']
    for name in request.query_params:
        if name not in known:
            wanted = ', '.join(known) or 'none'
            raise Refused(422, 'invalid', f'{name[:60]!r}: no such parameter, there are: {wanted}')


READ, WRITE, ADMIN = (Depends(_needs(scope)) for scope in ('read', 'write', 'admin'))
