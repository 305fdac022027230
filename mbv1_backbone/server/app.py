"""The application: routes, refusals, and what surrounds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from mbv1_backbone import __version__
from mbv1_backbone.common.errors import Mbv1Error
from mbv1_backbone.server import about_routes, face_routes, page_routes, upkeep_routes, vision_routes
from mbv1_backbone.server.guarding import Guard, check_origins
from mbv1_backbone.server.refusals import Refused, refused_by
from mbv1_backbone.server.schemas import Error
from mbv1_backbone.server.service import Service

__all__ = ['create_app']

_CODES = {404: 'absent', 405: 'method'}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    '4XX': {'model': Error, 'description': 'Refused: one line says why'},
    '5XX': {'model': Error, 'description': 'Cannot be done at present; Retry-After says when to ask again'},
}


def create_app(
    service: Service, hosts: Collection[str] | None = None, origins: Sequence[str] = ()
) -> FastAPI:
    """An ASGI application, which closes the service when it ends.

    Args:
        service: What answers.
        hosts: Names that it may be called by (the Host header, without a port); None allows all.
        origins: Of pages of other sites that may ask from a browser, e.g. ``https://people.example.org``.

    Raises:
        InputError: If an origin is none.

    Example:
        >>> app = create_app(Service(detector=detector))  # doctest: +SKIP
    """
    allowed = check_origins(origins)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = service.limits.requests + 4
        yield
        await to_thread.run_sync(service.close)

    app = FastAPI(
        title='mbv1-backbone',
        version=__version__,
        description='Detection, embeddings and a gallery of faces.',
        lifespan=lifespan,
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        openapi_url='/v1/openapi.json',
        responses=_REFUSALS,
    )
    app.state.service = service
    for module in (page_routes, about_routes, vision_routes, face_routes, upkeep_routes):
        app.include_router(module.router)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_values)
    app.add_exception_handler(Mbv1Error, _refuse_error)
    app.add_exception_handler(Exception, _defect)
    app.add_middleware(Guard, service=service, hosts=hosts, origins=allowed)
    if allowed:  # around all, so that a page may read refusals, too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=('GET', 'POST', 'DELETE'),
            allow_headers=('Authorization', 'Content-Type'),
            expose_headers=('Retry-After',),
        )
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not isinstance(error, Refused):
        code = _CODES.get(error.status_code, 'invalid')
        error = Refused(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))
    return JSONResponse(error.as_dict(), error.status_code, error.headers)


async def _refuse_values(request: Request, error: Exception) -> Response:
    """A value of the request that breaks its rule: the first of them, by its place."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part)[:60] for part in first['loc']]
    field = '.'.join(place[1:]) or place[0]
    return await _refuse(request, Refused(422, 'invalid', f'{field}: {first["msg"]}', field))


async def _refuse_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, Mbv1Error)
    gallery = request.app.state.service.gallery
    return await _refuse(request, refused_by(error, None if gallery is None else gallery.place))


async def _defect(request: Request, error: Exception) -> Response:
    """A defect of ours: the traceback is in the server's log, and nothing of it in the answer."""
    return await _refuse(request, Refused(500, 'defect', "a defect of mbv1-backbone: see the server's log"))
