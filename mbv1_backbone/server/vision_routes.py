"""Routes that look at images: detect, classify, embed."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from PIL import Image

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.inference.detections import Detections
from mbv1_backbone.inference.detector import Detector
from mbv1_backbone.server import schemas
from mbv1_backbone.server.access import READ, deadline_of, service_of
from mbv1_backbone.server.answers import WrittenRoute
from mbv1_backbone.server.people import FacesOf, face_out
from mbv1_backbone.server.refusals import Refused
from mbv1_backbone.server.service import Service, absent
from mbv1_backbone.server.uploads import Form, Picture, decoded, none_usable, read_form

__all__ = ['Policy', 'faces_in', 'form_of', 'images_body', 'router']

router = APIRouter(route_class=WrittenRoute, prefix='/v1', tags=['images'], dependencies=[READ])
Policy = Annotated[
    Literal['largest', 'all', 'reject'],
    Query(description='of several faces: the largest, all, or refuse the image'),
]
Score = Annotated[float, Query(ge=0, le=1, description='leave out what scores lower')]


def form_of(*fields: str) -> Callable[[Request], Awaitable[Form]]:
    """The dependency that reads images, and some fields beside them."""

    async def read(request: Request) -> Form:
        return await read_form(request, service_of(request).limits, fields)

    return read


Images = Annotated[Form, Depends(form_of())]


def images_body(**fields: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of such a form.

    Args:
        fields: Schemas of the fields beside the images.
    """
    files = dict(type='array', items=dict(type='string', format='binary'), minItems=1)
    schema = dict(
        type='object',
        required=['images'],
        properties=dict(images=files, **fields),
        additionalProperties=False,
    )
    return dict(requestBody=dict(required=True, content={'multipart/form-data': dict(schema=schema)}))


@router.post('/detect', openapi_extra=images_body())
def detect(request: Request, form: Images, score: Score = 0.3) -> schemas.Detected:
    """Detect objects: boxes, labels and scores of each image."""
    service = service_of(request)
    detector, deadline = _detector(service), deadline_of(request)
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        found = service.vision.objects(pictures, deadline)
        results = [
            schemas.ImageObjects(**picture.described(), objects=_objects(detector, mine.above(score)))  # type: ignore[arg-type]
            for picture, mine in zip(pictures, found, strict=True)
        ]
    return schemas.Detected(results=results, failures=failures)


@router.post(
    '/detect/picture',
    openapi_extra=images_body(),
    response_class=Response,
    responses={200: {'content': {'image/png': {}}, 'description': 'The image with boxes drawn on it'}},
)
def picture(request: Request, form: Images, score: Score = 0.3) -> Response:
    """Detect objects in one image, and draw them: a PNG file."""
    service = service_of(request)
    detector, deadline = _detector(service), deadline_of(request)
    if len(form.uploads) != 1:
        raise Refused(422, 'invalid', f'images: one file is drawn on, got {len(form.uploads)}', 'images')
    from mbv1_backbone.detection.drawing import draw_boxes

    with decoded(form.uploads, service.limits, service.budget, deadline) as ([one], _):
        found = service.vision.objects([one], deadline)[0].above(score)
        drawn = draw_boxes(
            one.pixels,
            found.boxes,
            found.labels.tolist(),
            detector.classes,
            found.scores.tolist(),
            masks=found.masks,
        )
    content = io.BytesIO()
    Image.fromarray(drawn).save(content, format='PNG', compress_level=1)
    return Response(content.getvalue(), media_type='image/png')


@router.post('/classify', openapi_extra=images_body())
def classify(
    request: Request, form: Images, top: Annotated[int, Query(ge=1, le=1000)] = 5
) -> schemas.Classified:
    """The likeliest classes of each image."""
    service = service_of(request)
    classifier, deadline = service.vision.classifier, deadline_of(request)
    if classifier is None:
        raise absent('classifier', '--classifier')
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        rows = service.vision.probabilities(pictures, deadline)
        results = [
            schemas.ImageCategories(
                **picture.described(),  # type: ignore[arg-type]
                categories=[
                    schemas.Category(label=one.label, category=one.name, score=one.score)
                    for one in classifier.top(row, top)
                ],
            )
            for picture, row in zip(pictures, rows, strict=True)
        ]
    return schemas.Classified(results=results, failures=failures)


@router.post('/embed', openapi_extra=images_body())
def embed(request: Request, form: Images, policy: Policy = 'largest') -> schemas.Embedded:
    """Embed the faces of images: vectors of length 1, which are alike for one person's faces."""
    service = service_of(request)
    deadline = deadline_of(request)
    embedder = the_embedder(service)
    with decoded(form.uploads, service.limits, service.budget, deadline) as (pictures, failures):
        found = faces_in(service, pictures, failures, policy, deadline)
        vectors = iter(service.vision.vectors([face for _, faces in found for face in faces], deadline))
        results = [
            schemas.ImageEmbeddings(
                **picture.described(),  # type: ignore[arg-type]
                faces=[
                    schemas.EmbeddedFace(**face_out(place), vector=next(vectors).tolist())
                    for _, place in faces
                ],
            )
            for picture, faces in found
        ]
    return schemas.Embedded(model=embedder.fingerprint, results=results, failures=failures)


def the_embedder(service: Service) -> Any:
    """The embedder.

    Raises:
        Refused: If there is none.
    """
    if service.vision.embedder is None:
        raise absent('embedder', '--model')
    return service.vision.embedder


def faces_in(
    service: Service,
    pictures: Sequence[Picture],
    failures: list[schemas.Failure],
    policy: str,
    deadline: float,
) -> list[FacesOf]:
    """The images that have faces, with these; the others become failures.

    Args:
        service: With an embedder.
        pictures: Decoded.
        failures: Gets those of images without a face, in the images' order.
        policy: Of several faces.
        deadline: By ``time.monotonic``.

    Raises:
        Refused: If no image has a face.
    """
    found: list[FacesOf] = []
    for one, faces in zip(pictures, service.vision.faces(pictures, policy, deadline), strict=True):
        if isinstance(faces, InputError):
            failures.append(one.upload.failure(faces))
        else:
            found.append((one, faces))
    failures.sort(key=lambda failure: failure.image)
    if not found:
        raise none_usable(failures)
    return found


def _detector(service: Service) -> Detector:
    if service.vision.detector is None:
        raise absent('detector', '--detector')
    return service.vision.detector


def _objects(detector: Detector, found: Detections) -> list[schemas.Object]:
    marks = [None] * len(found) if found.landmarks is None else found.landmarks.tolist()
    outlines = [None] * len(found) if found.masks is None else found.masks.rles()
    rows = zip(_plain(found.boxes), _plain(found.scores), found.labels.tolist(), marks, outlines, strict=True)
    return [
        schemas.Object(
            box=box,
            score=score,
            label=label,
            category=detector.classes[label],
            category_id=detector.category_ids[label],
            landmarks=points,
            segmentation=None if outline is None else schemas.RunLengths(**outline),
        )
        for box, score, label, points, outline in rows
    ]


def _plain(values: np.ndarray) -> list[Any]:
    plain: list[Any] = values.astype(np.float64).tolist()
    return plain
