"""Routes about the service itself: health, metrics, models."""

from __future__ import annotations

from functools import cache
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from mbv1_backbone.server import schemas
from mbv1_backbone.server.access import READ, service_of
from mbv1_backbone.server.answers import WrittenRoute
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.service import Service
from mbv1_backbone.weights.zoo import zoo_folder, zoo_models

__all__ = ['router']

router = APIRouter(route_class=WrittenRoute, prefix='/v1', tags=['service'])
Role = Literal['detector', 'embedder', 'classifier']


@router.get('/health')
async def health() -> schemas.State:
    """Whether the process answers; asks for no key."""
    return schemas.State(status='ok')


@router.get('/ready')
async def ready(request: Request) -> schemas.State:
    """Whether the service takes another request now; asks for no key."""
    service = service_of(request)
    if service.active >= service.limits.requests:
        raise Refused(503, 'overloaded', 'as many requests as may be are being worked on')
    return schemas.State(status='ready')


@router.get('/metrics', dependencies=[READ], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counts of requests and batches, for Prometheus."""
    text = service_of(request).metrics.text()
    return Response(text, media_type='text/plain; version=0.0.4; charset=utf-8')


@router.get('/models', dependencies=[READ])
def models(request: Request) -> schemas.Models:
    """The networks of the service."""
    service = service_of(request)
    vision, found = service.vision, []
    if vision.detector is not None:
        found.append(_model(service, 'detector', vision.detector.backend, len(vision.detector.classes)))
    if vision.classifier is not None:
        found.append(_model(service, 'classifier', vision.classifier.backend, len(vision.classifier.classes)))
    if vision.embedder is not None:
        found.append(_model(service, 'embedder', vision.embedder.backend, dims=vision.embedder.dims))
    return schemas.Models(models=found)


@router.get('/models/{role}/card', dependencies=[READ], response_class=PlainTextResponse)
def card(request: Request, role: Role) -> str:
    """The card of a network of the zoo, in Markdown."""
    text = _card(service_of(request).names.get(role, ''))
    if text is None:
        raise Refused(404, 'absent', f'role: the {role} has no card, or there is none', 'role')
    return text


def _model(service: Service, role: Role, backend: str, classes: int = 0, dims: int = 0) -> schemas.Model:
    name = service.names.get(role, '')
    has_card = _card(name) is not None
    return schemas.Model(role=role, name=name, backend=backend, classes=classes, dims=dims, card=has_card)


@cache
def _card(name: str) -> str | None:
    """The card of a model of this project's zoo, read once; None of any other name."""
    path = zoo_folder() / name / 'README.md'
    return path.read_text() if name in zoo_models() and path.is_file() else None
