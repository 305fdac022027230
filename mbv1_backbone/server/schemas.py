"""What the service answers: the same classes for its OpenAPI description and for the Python client."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    'Calibrated',
    'Classified',
    'Cluster',
    'Clustered',
    'CurveOut',
    'Detected',
    'Embedded',
    'Enrolled',
    'EntryOut',
    'Error',
    'FacesFound',
    'Failure',
    'Model',
    'People',
    'Searched',
]

Box = tuple[float, float, float, float]
Kind = Literal['named', 'group', 'alone']


class Plain(BaseModel):
    """Values of JSON, and no others than are declared."""

    model_config = ConfigDict(extra='forbid')


class Failure(Plain):
    """An image that could not be used."""

    image: int = Field(description='its place in the request, 0 first')
    name: str = Field(description='as the request called it')
    reason: str = Field(description='one line')


class ErrorBody(Plain):
    """Why nothing was done."""

    code: str
    message: str = Field(description='one line: the field or value, and the rule')
    field: str | None = None
    failures: list[Failure] = []


class Error(Plain):
    """The body of every answer of 400 and more."""

    error: ErrorBody


class OfImage(Plain):
    """What is said of one image of the request."""

    image: int = Field(description='its place in the request, 0 first')
    name: str
    width: int
    height: int


class RunLengths(Plain):
    """An object's pixels in COCO's form."""

    size: tuple[int, int] = Field(description='height and width of the image, in pixels')
    counts: str


class Object(Plain):
    """Something that was detected."""

    box: Box = Field(description='x1, y1, x2, y2 in pixels of the image as EXIF shows it')
    score: float
    label: int
    category: str
    category_id: int | str
    landmarks: list[tuple[float, float]] | None = None
    segmentation: RunLengths | None = None


class ImageObjects(OfImage):
    """What was detected in an image, by descending score."""

    objects: list[Object]


class Detected(Plain):
    """Answer of detection."""

    results: list[ImageObjects]
    failures: list[Failure]


class Category(Plain):
    """A class of an image."""

    label: int
    category: str
    score: float


class ImageCategories(OfImage):
    """The likeliest classes of an image."""

    categories: list[Category]


class Classified(Plain):
    """Answer of classification."""

    results: list[ImageCategories]
    failures: list[Failure]


class Face(Plain):
    """A face of an image."""

    box: Box | None = Field(description='in pixels; null where the image is taken for the face')
    landmarks: list[tuple[float, float]] | None = Field(
        default=None, description='eyes, nose, corners of the mouth'
    )
    score: float | None = Field(default=None, description="the detector's, 0..1")
    quality: float | None = Field(default=None, description='for recognition, 0..1')


class ImageFaces(OfImage):
    """The faces of an image, the largest first."""

    faces: list[Face]


class FacesFound(Plain):
    """Answer of face detection."""

    results: list[ImageFaces]
    failures: list[Failure]


class EmbeddedFace(Face):
    """A face with its embedding, of length 1."""

    vector: list[float]


class ImageEmbeddings(OfImage):
    """The embeddings of an image's faces."""

    faces: list[EmbeddedFace]


class Embedded(Plain):
    """Answer of embedding."""

    model: str = Field(description='fingerprint of the network: embeddings of another are not comparable')
    results: list[ImageEmbeddings]
    failures: list[Failure]


class MatchOut(Plain):
    """An entry of the gallery that is like a face."""

    id: int
    identity: str
    file: str
    score: float = Field(description='cosine, -1..1')
    distance: float = Field(description='2 - 2 score')


class SearchedFace(Face):
    """A face, and whom the gallery takes it for."""

    matches: list[MatchOut] = Field(description='by descending score; none: nobody reaches the threshold')
    nearest: MatchOut | None = Field(description='whatever its score; null of an empty gallery')


class ImageAnswers(OfImage):
    """Who is in an image."""

    faces: list[SearchedFace]


class Searched(Plain):
    """Answer of a search."""

    threshold: float | None = Field(description='that matches had to reach; null: none')
    results: list[ImageAnswers]
    failures: list[Failure]


class EnrolledFace(Face):
    """What became of a face."""

    state: Literal['added', 'known', 'left out']
    id: int | None = Field(default=None, description='of its entry')
    identity: str | None = Field(default=None, description='the name that the entry has')
    reason: str | None = Field(
        default=None, description='why it was left out, or is not under the name given'
    )


class ImageEnrolled(OfImage):
    """What became of an image's faces."""

    faces: list[EnrolledFace]


class Enrolled(Plain):
    """Answer of an enrolment."""

    added: int
    results: list[ImageEnrolled]
    failures: list[Failure]


class EntryOut(Plain):
    """An entry of the gallery."""

    id: int
    identity: str
    file: str
    sha256: str
    added: float = Field(description='seconds since 1970')
    metadata: dict[str, Any]
    box: Box | None
    landmarks: list[tuple[float, float]] | None
    detector_score: float | None
    quality: float | None
    thumbnail: bool = Field(description='whether /v1/faces/entries/ID/thumbnail has a picture')


class Entries(Plain):
    """Some entries, by id."""

    entries: list[EntryOut]
    next: int | None = Field(description='`after` of the next page; null: these are the last')


class Person(Plain):
    """Somebody in the gallery."""

    identity: str
    images: int
    kind: Kind = Field(description='group, alone: the name is automatic, of faces that nobody has named')


class People(Plain):
    """Some people, by name."""

    people: list[Person]
    next: str | None = Field(description='`after` of the next page; null: these are the last')


class Changed(Plain):
    """How many entries a change was about."""

    entries: int


class Cluster(Plain):
    """Faces without a name that belong together."""

    identity: str
    ids: list[int]
    photographs: int
    cohesion: float
    like: tuple[str, float] | None


class Clustered(Plain):
    """Answer of clustering."""

    threshold: float
    origin: str
    groups: list[Cluster]
    alone: list[int]
    changed: int


class Calibrated(Plain):
    """A threshold, and how it was found."""

    fpir: float
    threshold: float
    low: float
    high: float
    non_mated: int
    dir: float | None
    probes: int
    change: int


class PointOut(Plain):
    """What a threshold does."""

    fpir: float = Field(description='share of people who are not enrolled that is taken for some')
    threshold: float
    dir: float | None = Field(description='share of enrolled people that is named rightly; null: unknown')


class CurveOut(Plain):
    """FPIR against DIR of a gallery, by ascending FPIR."""

    points: list[PointOut]
    non_mated: int
    probes: int
    change: int


class Backup(Plain):
    """A copy of the gallery on the server."""

    name: str = Field(description="of its folder in the server's folder of backups")
    entries: int


class Model(Plain):
    """A network of the service."""

    role: Literal['detector', 'embedder', 'classifier']
    name: str
    backend: str
    classes: int = Field(description='0 of an embedder')
    dims: int = Field(description='of an embedding; 0 of others')
    card: bool = Field(description='whether /v1/models/ROLE/card has one')


class Models(Plain):
    """The networks of the service."""

    models: list[Model]


class State(Plain):
    """Whether the service can work."""

    status: str
