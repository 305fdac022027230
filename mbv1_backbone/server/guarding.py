"""What every request passes before it is read: its site, its size, its time, and how many there are."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from h11 import LocalProtocolError
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.server.refusals import Refused, overloaded
from mbv1_backbone.server.service import Service

__all__ = ['ALWAYS', 'HEADERS', 'Guard', 'check_origins']

ALWAYS = ('/v1/health', '/v1/ready', '/v1/metrics')  # answered under any load
HEADERS = {  # of every answer: it is what it says it is, and shown in no page of another site
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Resource-Policy': 'same-origin',
}
_SAFE = ('GET', 'HEAD')
_ORIGIN = re.compile(r'https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?')


class Guard:
    """The outermost layer of the application.

    Args:
        app: What is inside.
        service: Whose limits hold.
        hosts: Names that the service may be called by; None allows all. On loopback they are few, so that no
            page of another site reaches it by a name that leads here.
        origins: Of pages of other sites that may ask; as ``check_origins`` gives them.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        hosts: Collection[str] | None = None,
        origins: Collection[str] = (),
    ) -> None:
        self.app = app
        self.service = service
        self.hosts = hosts
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        begun = time.monotonic()
        status, gone = 500, False

        async def sending(message: Message) -> None:
            nonlocal status, gone
            if gone:
                return
            if message['type'] != 'http.response.start':
                await send(message)
                return
            status = message['status']
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            try:
                await send(message)
            except LocalProtocolError:  # what came was not HTTP any more: uvicorn has said so, and closes
                status, gone = 400, True

        try:
            await self._answer(scope, receive, sending, begun)
            while gone and (await receive())['type'] != 'http.disconnect':
                continue  # uvicorn logs a line of who ends before that
        finally:
            route = getattr(scope.get('route'), 'path', 'none')
            method = scope['method'] if scope['method'] in (*_SAFE, 'POST', 'DELETE') else 'other'
            self.service.metrics.answered(route, method, status, time.monotonic() - begun)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, begun: float) -> None:
        limits = self.service.limits
        counted = scope['path'] not in ALWAYS
        refused = self._refusal(scope) or (
            overloaded(f'{self.service.active} requests are being worked on')
            if counted and self.service.active >= limits.requests
            else None
        )
        if refused is not None:
            answer = JSONResponse(
                refused.as_dict(), refused.status_code, {**(refused.headers or {}), 'Connection': 'close'}
            )
            await answer(scope, receive, send)
            return
        scope['mbv1_deadline'] = begun + limits.seconds
        self.service.active += counted
        try:
            await self.app(scope, _limited(receive, limits.body_bytes, begun + limits.seconds), send)
        finally:
            self.service.active -= counted

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = {name.lower(): value.decode('latin-1') for name, value in scope['headers']}
        host = headers.get(b'host', '')
        if self.hosts is not None and _name(host) not in self.hosts:
            return Refused(421, 'host', f'Host: the service is not called {host[:80]!r}')
        if not _is_opened(scope['method'], headers) and self._from_elsewhere(headers, scope['scheme'], host):
            return Refused(403, 'origin', 'Origin: pages of other sites may neither change nor read here')
        length = headers.get(b'content-length', '0')
        if not length.isascii() or not length.isdigit():
            return Refused(400, 'invalid', 'Content-Length: must be a whole number')
        if int(length[:20]) > self.service.limits.body_bytes:
            return _too_large(self.service.limits.body_bytes)
        return None

    def _from_elsewhere(self, headers: dict[bytes, str], scheme: str, host: str) -> bool:
        """Whether a browser says that a page of another site asks, which is not allowed to."""
        origin, site = headers.get(b'origin'), headers.get(b'sec-fetch-site')
        if origin is not None and origin in self.origins:
            return False
        if site is not None:  # no page can forge it, and behind a proxy that ends TLS it is right, too
            return site not in ('same-origin', 'none')
        return origin is not None and origin.lower() != f'{scheme}://{host}'.lower()


def _is_opened(method: str, headers: dict[bytes, str]) -> bool:
    """Whether a browser says that a link to here is followed: as a page, not within one of another site."""
    dest = headers.get(b'sec-fetch-dest', 'document')
    return method in _SAFE and headers.get(b'sec-fetch-mode') == 'navigate' and dest == 'document'


def check_origins(origins: Iterable[str]) -> list[str]:
    """Origins of pages, as browsers send them.

    Args:
        origins: Each a scheme, a host and maybe a port.

    Raises:
        InputError: If one is something else; ``*`` and ``null``, too: they would let everybody's pages in.
    """
    found = []
    for origin in origins:
        plain = origin.lower().removesuffix('/')
        if not _ORIGIN.fullmatch(plain):
            raise InputError(
                f'origin must be http://HOST or https://HOST, with :PORT or without, got {origin!r:.80}'
            )
        usual = ':443' if plain.startswith('https:') else ':80'  # which browsers leave out
        found.append(plain.removesuffix(usual))
    return found


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f'//{host}').hostname or '').lower()
    except ValueError:
        return ''


def _limited(receive: Receive, most: int, deadline: float) -> Receive:
    """The same, refusing bodies that are too large or come too slowly."""
    seen, whole = 0, False

    async def limited() -> Message:
        nonlocal seen, whole
        if whole:  # what comes then is that the client has gone
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.001, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise Refused(408, 'slow', 'body: did not come in time') from None
        if message['type'] == 'http.request':
            seen += len(message.get('body', b''))
            whole = not message.get('more_body', False)
            if seen > most:
                raise _too_large(most)
        return message

    return limited


def _too_large(most: int) -> Refused:
    return Refused(413, 'too_large', f'body: at most {most} bytes are taken')
