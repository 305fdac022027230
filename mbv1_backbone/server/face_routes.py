"""Routes of faces and of the people in the gallery."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.names import is_of_one_line, plain_name
from mbv1_backbone.retrieval import Entry, GalleryLike
from mbv1_backbone.retrieval.checks import MAX_TEXT
from mbv1_backbone.server import schemas
from mbv1_backbone.server.access import READ, WRITE, deadline_of, service_of
from mbv1_backbone.server.answers import WrittenRoute
from mbv1_backbone.server.people import (
    Wanted,
    enrol as enrol_faces,
    entry_out,
    face_out,
    kind_of,
    only_at,
    search as ask,
)
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.schemas import Kind, Plain
from mbv1_backbone.server.thumbnails import thumbnail_of
from mbv1_backbone.server.uploads import Form, decoded
from mbv1_backbone.server.vision_routes import Images, Policy, faces_in, form_of, images_body, the_embedder

__all__ = ['Ids', 'Name', 'NewName', 'router']

router = APIRouter(route_class=WrittenRoute, prefix='/v1/faces', tags=['faces'])
Id = Annotated[int, Field(ge=1, lt=2**63)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=10_000)]


def _of_one_line(name: str) -> str:
    if not is_of_one_line(name):
        raise PydanticCustomError(
            'name', 'a name may not have line breaks or control characters, nor turn the direction of text'
        )
    return name


Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(plain_name)]  # is there
NewName = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(plain_name), AfterValidator(_of_one_line)
]
_NEW_NAME = TypeAdapter[str](NewName)
Page = Annotated[int, Query(ge=1, le=1000, description='of a page, at most')]
_ENROL_FIELDS: dict[str, dict[str, Any]] = dict(
    identity=dict(type='string', description='whose faces; without it each gets a name of its own'),
    metadata=dict(type='string', description='free values of each entry, an object of JSON'),
)


@router.post('/detect', openapi_extra=images_body(), dependencies=[READ])
def detect(request: Request, form: Images, policy: Policy = 'all') -> schemas.FacesFound:
    """Find the faces of images: boxes, landmarks, scores and qualities."""
    service, deadline = service_of(request), deadline_of(request)
    the_embedder(service)
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        found = faces_in(service, pictures, failures, policy, deadline)
    results = [
        schemas.ImageFaces(
            **picture.described(),  # type: ignore[arg-type]
            faces=[schemas.Face(**face_out(place)) for _, place in faces],
        )
        for picture, faces in found
    ]
    return schemas.FacesFound(results=results, failures=failures)


@router.post('/search', openapi_extra=images_body(), dependencies=[READ])
def search(
    request: Request,
    form: Images,
    policy: Policy = 'all',
    k: Annotated[int, Query(ge=1, le=100, description='matches of a face, at most')] = 5,
    by: Annotated[
        Literal['entry', 'best', 'mean'],
        Query(description='match entries, or people by the best or mean score of theirs'),
    ] = 'entry',
    threshold: Annotated[
        float | None, Query(ge=-1, le=1, description='lowest score; by default the calibrated one')
    ] = None,
    every: Annotated[bool, Query(alias='all', description='no threshold')] = False,
    identity: Annotated[list[Name] | None, Query(description='among these people only')] = None,
) -> schemas.Searched:
    """Say who is on images; nobody where no score reaches the threshold."""
    service, deadline = service_of(request), deadline_of(request)
    gallery = service.the_gallery()
    if every and threshold is not None:
        raise Refused(422, 'invalid', 'threshold: not together with all', 'threshold')
    lowest: float | str | None = None if every else 'calibrated' if threshold is None else threshold
    known = gallery.calibration
    reached = lowest if not isinstance(lowest, str) else None if known is None else float(known['threshold'])
    options: dict[str, Any] = {} if identity is None else dict(identity=identity)
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        found = faces_in(service, pictures, failures, policy, deadline)
        vectors = service.vision.vectors([face for _, faces in found for face in faces], deadline)
    answers = ask(gallery, found, vectors, k, by=None if by == 'entry' else by, threshold=lowest, **options)
    results = [
        schemas.ImageAnswers(**picture.described(), faces=mine)  # type: ignore[arg-type]
        for (picture, _), mine in zip(found, answers, strict=True)
    ]
    return schemas.Searched(threshold=reached, results=results, failures=failures)


@router.post('/enrol', openapi_extra=images_body(**_ENROL_FIELDS), dependencies=[WRITE])
def enrol(
    request: Request,
    form: Annotated[Form, Depends(form_of(*_ENROL_FIELDS))],
    policy: Policy = 'largest',
    min_quality: Annotated[float, Query(ge=0, le=1)] = 0.0,
    x: Annotated[float | None, Query(ge=0, allow_inf_nan=False, description='with y: the face there')] = None,
    y: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
) -> schemas.Enrolled:
    """Add the faces of images to the gallery: all of them, or after an error none."""
    service, deadline = service_of(request), deadline_of(request)
    gallery = service.the_gallery()
    metadata = _metadata(form.fields.get('metadata'))
    wanted = Wanted(_new_name(form.fields.get('identity')), min_quality, metadata, service.keep_thumbnails)
    if (x is None) != (y is None):
        raise Refused(422, 'invalid', 'x: goes together with y', 'x')
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        if x is None or y is None:
            found = faces_in(service, pictures, failures, policy, deadline)
        else:
            if len(form.uploads) != 1:
                raise Refused(
                    422, 'invalid', f'images: x and y are of one, got {len(form.uploads)}', 'images'
                )
            found = [
                (one, only_at(faces, x, y))
                for one, faces in faces_in(service, pictures, failures, 'all', deadline)
            ]
        vectors = service.vision.vectors([face for _, faces in found for face in faces], deadline)
    states = enrol_faces(gallery, found, vectors, wanted)
    results = [
        schemas.ImageEnrolled(**picture.described(), faces=mine)  # type: ignore[arg-type]
        for (picture, _), mine in zip(found, states, strict=True)
    ]
    added = sum(one.state == 'added' for mine in states for one in mine)
    return schemas.Enrolled(added=added, results=results, failures=failures)


@router.get('/people', dependencies=[READ])
def people(
    request: Request,
    limit: Page = 100,
    after: Annotated[str | None, Query(description='a name')] = None,
    kind: Annotated[Kind | None, Query(description='of these alone')] = None,
) -> schemas.People:
    """The people in the gallery, by name, with how many images each has."""
    counts = service_of(request).the_gallery().identities()
    names = sorted(
        name for name in counts if (after is None or name > after) and (kind is None or kind_of(name) == kind)
    )
    mine = [schemas.Person(identity=name, images=counts[name], kind=kind_of(name)) for name in names[:limit]]
    return schemas.People(people=mine, next=names[limit - 1] if len(names) > limit else None)


@router.get('/entries', dependencies=[READ])
def entries(
    request: Request,
    limit: Page = 100,
    after: Annotated[int, Query(ge=0, lt=2**63, description='a number')] = 0,
    identity: Annotated[Name | None, Query(description='of this person only')] = None,
) -> schemas.Entries:
    """Entries of the gallery, by number."""
    gallery = service_of(request).the_gallery()
    ids = gallery.ids(identity=identity)
    ids = ids[ids > after]
    found = [entry_out(entry) for entry, _ in gallery.some(ids[:limit])]
    return schemas.Entries(entries=found, next=int(ids[limit - 1]) if len(ids) > limit else None)


@router.get('/entries/{id}', dependencies=[READ])
def entry(request: Request, id: Annotated[int, Path(ge=1, lt=2**63)]) -> schemas.EntryOut:
    """An entry of the gallery."""
    return entry_out(_found(service_of(request).the_gallery(), id))


@router.get(
    '/entries/{id}/thumbnail',
    dependencies=[READ],
    response_class=Response,
    responses={200: {'content': {'image/jpeg': {}}, 'description': 'The face, 112 pixels a side'}},
)
def thumbnail(request: Request, id: Annotated[int, Path(ge=1, lt=2**63)]) -> Response:
    """The picture of an entry's face, where the service kept one."""
    content = thumbnail_of(_found(service_of(request).the_gallery(), id))
    if content is None:
        raise Refused(404, 'absent', f'id: entry {id} has no thumbnail', 'id')
    return Response(content, media_type='image/jpeg', headers={'Cache-Control': 'no-store'})


@router.delete('/entries/{id}', dependencies=[WRITE])
def remove_entry(request: Request, id: Annotated[int, Path(ge=1, lt=2**63)]) -> schemas.Changed:
    """Remove an entry."""
    gallery = service_of(request).the_gallery()
    _found(gallery, id)
    return schemas.Changed(entries=gallery.remove([id]))


class Person(Plain):
    """A person."""

    identity: Name


@router.post('/remove', dependencies=[WRITE])
def remove(request: Request, body: Person) -> schemas.Changed:
    """Remove all entries of a person."""
    gallery = service_of(request).the_gallery()
    _check_there(gallery, body.identity)
    return schemas.Changed(entries=gallery.remove(identity=body.identity))


class Renaming(Person):
    """A person's new name."""

    new: NewName


@router.post('/rename', dependencies=[WRITE])
def rename(request: Request, body: Renaming) -> schemas.Changed:
    """Give a person, or a group that clustering made, another name."""
    gallery = service_of(request).the_gallery()
    _check_there(gallery, body.identity)
    return schemas.Changed(entries=gallery.rename(body.identity, body.new))


class Merging(Plain):
    """Names of one person."""

    identities: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    into: NewName


@router.post('/merge', dependencies=[WRITE])
def merge(request: Request, body: Merging) -> schemas.Changed:
    """Make several names one person's."""
    gallery = service_of(request).the_gallery()
    for name in body.identities:
        _check_there(gallery, name)
    return schemas.Changed(entries=gallery.merge_identities(body.identities, body.into))


def _found(gallery: GalleryLike, entry_id: int) -> Entry:
    try:
        return gallery.get(entry_id)
    except InputError:
        raise Refused(404, 'absent', f'id: there is no entry {entry_id}', 'id') from None


def _check_there(gallery: GalleryLike, identity: str) -> None:
    if not gallery.images_of([identity]):
        raise Refused(404, 'absent', f'identity: there is no {identity!r:.60}', 'identity')


def _new_name(text: str | None) -> str | None:
    if not text or not plain_name(text):
        return None
    try:
        return _NEW_NAME.validate_python(text)
    except ValidationError as error:
        raise Refused(422, 'invalid', f'identity: {error.errors()[0]["msg"]}', 'identity') from None


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and infinities, which JSON does not have


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Refused(422, 'invalid', 'metadata: must be an object of JSON', 'metadata')
    return values
