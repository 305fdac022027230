"""Faces of a made film: how well they are followed, and named by single frames and by tracks.

Heads of photographs go past in two lanes, from frame to frame sharp or blurred, bright or dark. A gallery has
another photograph of three quarters of the people.

python -m benchmarks.film_faces --photos data/lfw_color/whole --detector FILE
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.idf1 import idf1
from mbv1_backbone import load
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.face_gallery.answers import matches_of
from mbv1_backbone.face_gallery.tracks import FaceTrack, FaceTracker, track_faces
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.face_detectors import named_finder
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.video.sources import open_source

__all__ = ['Heads', 'measure']

_WIDTH, _LANE, _STEP, _APART = 640, 200, 16, 240  # pixels: frame, lane's height, a frame's way, between heads
_HEAD = slice(25, 225), slice(45, 205)  # rows and columns of a photograph of 250 x 250
_SAME = 0.5  # intersection over union of a face and a head's face


class Heads:
    """The film, and where each face is in it.

    Args:
        photos: Of the people, one each.
        finder: Finds each face once, in the photograph as it is: the truth.
    """

    def __init__(self, photos: list[Path], finder: FaceFinder) -> None:
        self.heads, self.boxes = [], []
        for photo in photos:
            head = np.ascontiguousarray(read_image(photo)[_HEAD])
            found = finder.find_all(head, 112)
            self.heads.append(head)
            self.boxes.append(np.array(found[0][1].box) if found else None)
        self.frames = ((len(photos) + 1) // 2 * _APART + _WIDTH) // _STEP
        self.truth: list[tuple[np.ndarray, np.ndarray]] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        random = np.random.default_rng(5)
        for number in range(self.frames):
            frame = np.full((2 * _LANE, _WIDTH, 3), 128, np.uint8)
            boxes, people = [], []
            for person, head in enumerate(self.heads):
                lane, place = person % 2, person // 2
                x = number * _STEP - place * _APART - head.shape[1]
                left = x if lane == 0 else _WIDTH - head.shape[1] - x
                box = self.boxes[person]
                if left <= -head.shape[1] or left >= _WIDTH:
                    continue
                _paste(frame, _worn(head, random), left, lane * _LANE)
                if box is not None and box[0] + left >= 0 and box[2] + left <= _WIDTH:
                    boxes.append(box + np.array([left, lane * _LANE] * 2))
                    people.append(person)
            self.truth.append((np.array(boxes).reshape(-1, 4), np.array(people, int)))
            yield frame


def _worn(head: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blurred, brighter or darker, and noisy, as the frames of a bad camera."""
    blurred = cv2.GaussianBlur(head, (0, 0), random.uniform(0.3, 4)).astype(np.float32)
    lit = blurred * random.uniform(0.4, 1.3) + random.normal(0, 8, head.shape)
    return lit.clip(0, 255).astype(np.uint8)


def _paste(frame: np.ndarray, head: np.ndarray, left: int, top: int) -> None:
    start, end = max(left, 0), min(left + head.shape[1], frame.shape[1])
    frame[top : top + head.shape[0], start:end] = head[:, start - left : end - left]


def measure(heads: Heads, names: list[str], tracker: FaceTracker, finder: FaceFinder) -> dict[str, Any]:
    """Follow and name the faces of the film.

    Args:
        heads: The film.
        names: Of the people; empty of those whom the gallery does not have.
        tracker: Of the gallery.
        finder: Of the faces.

    Returns:
        ``idf1``; and counts of right, wrong and unknown, by frames alone and by the track as it ended, of
        people of the gallery and of others.
    """
    if tracker.embedder is None or tracker.gallery is None:
        raise ValueError('the tracker names nobody')
    found, vectors, seen = [], [], []
    ended: list[FaceTrack] = []
    forward = tracker.embedder.forward

    def kept(faces: Any) -> np.ndarray:
        vectors.append(forward(faces))
        return vectors[-1]

    tracker.embedder.forward = kept  # type: ignore[assignment,method-assign]
    for one in track_faces(open_source(heads), finder, tracker):
        ended += one.ended
        seen.append(one.faces)
        found.append(
            (
                np.array([face.box for face in one.faces]).reshape(-1, 4),
                np.array([-1 if face.track is None else face.track for face in one.faces], int),
            )
        )
    final = {track.number: track.name for track in [*ended, *tracker.finish()]}
    alone = iter(matches_of(tracker.gallery, np.concatenate(vectors), 1, None, tracker.threshold)[0])
    counts: Counter[tuple[str, str, str]] = Counter()
    for faces, (boxes, people) in zip(seen, heads.truth, strict=True):
        for face in faces:
            match = next(alone)
            person = _person(np.array(face.box), boxes, people)
            if person is None or face.track is None:
                continue
            kind = 'known' if names[person] else 'others'
            counts['frame', kind, _said(match[0].identity if match else None, names[person])] += 1
            name = final[face.track]
            counts['track', kind, _said(name.identity if name else None, names[person])] += 1
    tracked = [(boxes[numbers >= 0], numbers[numbers >= 0]) for boxes, numbers in found]
    return {'idf1': idf1(heads.truth, tracked), 'tracks': len(final), 'counts': dict(counts)}


def _person(box: np.ndarray, boxes: np.ndarray, people: np.ndarray) -> int | None:
    if not len(boxes):
        return None
    shared = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (box, boxes)]
    overlap = shared / (areas[0] + areas[1] - shared)
    return int(people[overlap.argmax()]) if overlap.max() >= _SAME else None


def _said(identity: str | None, name: str) -> str:
    if identity is None:
        return 'unknown'
    return 'right' if identity == name else 'wrong'


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--photos', required=True, help='FOLDER/PERSON/IMAGE, two images a person, of 250 x 250'
    )
    parser.add_argument('--detector', required=True, help='of faces')
    parser.add_argument('--model', default='facenet_mbv1_1.0-160_color')
    parser.add_argument('--threshold', type=float, default=0.6)
    given = parser.parse_args()
    people = sorted(path for path in Path(given.photos).iterdir() if len(list(path.iterdir())) > 1)
    photos = [sorted(path.iterdir()) for path in people]
    finder = named_finder(given.detector, 'all')
    embedder = load(given.model, kind='embedder', finder=finder, precision='fp32')
    if finder is None or not isinstance(embedder, FaceEmbedder):
        raise SystemExit('a detector of faces is needed')
    known = [number for number in range(len(people)) if number % 4]
    names = [path.name if number in known else '' for number, path in enumerate(people)]
    first = FaceEmbedder(embedder.network, named_finder(given.detector, 'largest'))
    enrolled = first.embed([photos[number][0] for number in known])
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.create(
            Path(folder) / 'g', embedder.dims, 'f' * 64, dict(size=embedder.input_size)
        ) as gallery,
    ):
        whose = [people[known[source]].name for source in enrolled.sources]
        gallery.add(enrolled.vectors, whose, whose, [f'{n:064x}' for n in range(len(whose))])
        tracker = FaceTracker(25, embedder, gallery, threshold=given.threshold)
        heads = Heads([two[1] for two in photos], finder)
        said = measure(heads, names, tracker, finder)
    print(f'{heads.frames} frames, {len(people)} people, {said["tracks"]} tracks, IDF1 {said["idf1"]:.3f}')
    for by in ('frame', 'track'):
        for kind in ('known', 'others'):
            counts = {w: said['counts'].get((by, kind, w), 0) for w in ('right', 'wrong', 'unknown')}
            total = max(sum(counts.values()), 1)
            print(f'by {by}, {kind}: ' + ', '.join(f'{w} {n} ({n / total:.3f})' for w, n in counts.items()))


if __name__ == '__main__':
    main()
