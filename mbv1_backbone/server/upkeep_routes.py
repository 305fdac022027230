"""Routes of the gallery as a whole: corrections, groups, threshold, figures, copies."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from mbv1_backbone.retrieval import (
    Gallery,
    calibrate as calibrate_gallery,
    cluster as cluster_gallery,
    maintenance,
)
from mbv1_backbone.server import schemas
from mbv1_backbone.server.access import ADMIN, READ, WRITE, service_of
from mbv1_backbone.server.answers import WrittenRoute
from mbv1_backbone.server.face_routes import Ids, NewName
from mbv1_backbone.server.people import kind_of
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.schemas import Plain
from mbv1_backbone.server.service import Service, absent
from mbv1_backbone.server.thumbnails import forget_thumbnails as forget

__all__ = ['router']

router = APIRouter(route_class=WrittenRoute, prefix='/v1/faces', tags=['gallery'])


class Correction(Plain):
    """Entries that do not show the person whose name they have."""

    ids: Ids
    identity: NewName | None = Field(
        default=None, description='whom they show; without it they are removed, and those of a group leave it'
    )


@router.post('/not-this', dependencies=[WRITE])
def not_this(request: Request, body: Correction) -> schemas.Changed:
    """Say that entries do not show their person; it is remembered."""
    gallery = _in_folder(service_of(request), 'not-this')
    gallery.not_this_person(body.ids, body.identity)
    return schemas.Changed(entries=len(set(body.ids)))


class Splitting(Plain):
    """Entries of a person or group that are another's, all of them the same one's."""

    ids: Ids
    identity: NewName | None = Field(
        default=None, description='whom they show; without it they are a group that nobody has named'
    )


@router.post('/split', dependencies=[WRITE])
def split(request: Request, body: Splitting) -> schemas.Person:
    """Say that some entries of a person or group are another's; it is remembered."""
    gallery = _in_folder(service_of(request), 'split')
    name = gallery.split(body.ids, body.identity)
    return schemas.Person(identity=name, images=gallery.images_of([name]).get(name, 0), kind=kind_of(name))


class Clustering(Plain):
    """How faces are grouped."""

    threshold: Annotated[float | None, Field(ge=-1, le=1)] = Field(
        default=None, description='mean cosine of two groups from which on they are one'
    )


@router.post('/cluster', dependencies=[WRITE])
def cluster(request: Request, body: Clustering) -> schemas.Clustered:
    """Group the faces that nobody has named."""
    service = service_of(request)
    gallery = _in_folder(service, 'cluster')
    with service.upkeep():
        found = cluster_gallery(gallery, body.threshold)
    return schemas.Clustered(**_plain(asdict(found)))


class Calibrating(Plain):
    """What the threshold shall keep to."""

    fpir: float = Field(gt=0, lt=1, description='share of people who are not enrolled that is taken for some')


@router.post('/calibrate', dependencies=[ADMIN])
def calibrate(request: Request, body: Calibrating) -> schemas.Calibrated:
    """Compute and store the threshold for a rate of false positives."""
    service = service_of(request)
    gallery = service.the_gallery()
    with service.upkeep():
        found = calibrate_gallery(gallery, body.fpir)
    return schemas.Calibrated(**asdict(found))


@router.get('/curve', dependencies=[READ])
def curve(request: Request, points: Annotated[int, Query(ge=2, le=1000)] = 200) -> schemas.CurveOut:
    """What thresholds would do: the false positives and the right names of each; nothing is stored."""
    found = service_of(request).curve(points)
    return schemas.CurveOut(
        points=[schemas.PointOut(**point._asdict()) for point in found.points],
        non_mated=found.non_mated,
        probes=found.probes,
        change=found.change,
    )


@router.get('/stats', dependencies=[READ])
def stats(request: Request) -> dict[str, Any]:
    """Counts, index, sizes and threshold."""
    service = service_of(request)
    gallery = service.the_gallery()
    # no more of what it was made with than the model's name: the rest may hold a path
    known = dict(made_with=gallery.made_with.get('model'), calibration=gallery.calibration)
    return {**gallery.stats(), **known, 'thumbnails': service.keep_thumbnails}


@router.post('/forget-thumbnails', dependencies=[ADMIN])
def forget_thumbnails(request: Request) -> schemas.Changed:
    """Erase the pictures of all faces; the entries stay."""
    service = service_of(request)
    gallery = service.the_gallery()
    with service.upkeep():
        return schemas.Changed(entries=forget(gallery))


@router.post('/backup', dependencies=[ADMIN], status_code=201)
def backup(request: Request) -> schemas.Backup:
    """Copy the gallery into a new folder on the server, whose name is answered."""
    service = service_of(request)
    gallery = _in_folder(service, 'backup')
    if service.backups is None:
        raise absent('folder for backups', '--backups')
    with service.upkeep():
        name = f'{time.strftime("%Y%m%d-%H%M%S", time.gmtime())}-{time.time_ns() % 10**9:09}'
        count = maintenance.backup(gallery, service.backups / name)
    return schemas.Backup(name=name, entries=count)


def _in_folder(service: Service, what: str) -> Gallery:
    """The gallery, for what one on Milvus does not have."""
    gallery = service.the_gallery()
    if not isinstance(gallery, Gallery):
        raise Refused(409, 'not_on_milvus', f'a gallery on Milvus has no {what}')
    return gallery


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without NumPy's numbers."""
    groups = [
        dict(one, ids=[int(i) for i in one['ids']], cohesion=float(one['cohesion']))
        for one in values['groups']
    ]
    return dict(
        values, groups=groups, alone=[int(i) for i in values['alone']], threshold=float(values['threshold'])
    )
