"""``mbv1 faces track``: the faces of films and cameras, followed, and named by a gallery.

mbv1 faces track door.mp4 --gallery people --model NAME --out-dir door
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import film_options, options
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.wording import amount

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.cli.film_outputs import Written
    from mbv1_backbone.face.finder import FaceFinder
    from mbv1_backbone.face_gallery.tracks import FaceName, FaceTrack, TrackedFaces
    from mbv1_backbone.inference.embedder import FaceEmbedder
    from mbv1_backbone.retrieval import GalleryLike
    from mbv1_backbone.video.frames import FrameSource

__all__ = ['add_arguments', 'run']

_TRACKS = '.tracks.jsonl'
_SHOWN = 50  # tracks that are printed, the last ones


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'Find the faces of films and cameras, follow each from frame to frame, and say whom it shows by all '
        'that was seen of it.'
    )
    parser.add_argument(
        'films',
        nargs='+',
        metavar='FILM',
        help="films; or a camera's number or /dev/videoN, an rtsp:// or http:// address, or - for JPEG files "
        'on standard input',
    )
    parser.add_argument('--gallery', help='whom faces are looked for in (default: they get no names)')
    parser.add_argument('--model', help="the gallery's: name in the zoo, weights, exported file or config")
    parser.add_argument('--checkpoint', help='of the config')
    options.add_detector(parser)
    parser.add_argument(
        '--threshold',
        type=options.within(-1, 1),
        help="lowest score of a person (default: the gallery's calibrated one)",
    )
    parser.add_argument(
        '--decide-after',
        type=options.at_least(1),
        default=3,
        metavar='N',
        help='faces after which a track is named; again when there are twice as many, and at its end '
        '(default 3)',
    )
    options.output_folder(parser, f'folder for NAME.mp4, NAME.jsonl and NAME{_TRACKS}', required=True)
    parser.add_argument('--no-pictures', action='store_true', help='draw no film')
    film_options.add_film_options(parser)
    options.add_backend(parser)
    parser.set_defaults(policy='all')


def run(args: argparse.Namespace) -> None:
    """Find, follow, name, draw, write."""
    from mbv1_backbone.cli.film_outputs import each_film, names_of
    from mbv1_backbone.inference.face_detectors import named_finder
    from mbv1_backbone.video.extra import needed

    if bool(args.gallery) != bool(args.model):
        raise InputError('--gallery and --model go together')
    films = film_options.films_of(args.films)
    places = names_of(films, args.out_dir, not args.no_pictures, (_TRACKS,))
    needed('trackers', 'tracks')
    with ExitStack() as stack:
        reopen = partial(film_options.open_given, args)
        first = stack.enter_context(reopen(films[0]))  # before the networks
        gallery, embedder = _opened(args, stack)
        finder = named_finder(args.detector, 'all') if embedder is None else embedder.finder
        if finder is None:
            raise InputError('--detector none: a frame is no face; name a detector of faces')
        work = partial(_one, args, finder=finder, embedder=embedder, gallery=gallery)
        each_film(films, places, reopen, first, work)


def _opened(args: argparse.Namespace, stack: ExitStack) -> tuple[GalleryLike | None, FaceEmbedder | None]:
    """The gallery and what embeds for it, checked."""
    if not args.gallery:
        return None, None
    from mbv1_backbone.cli.gallery.embedders import check_embedder, open_embedder
    from mbv1_backbone.retrieval import open_gallery

    gallery = stack.enter_context(open_gallery(args.gallery))
    if args.detector == 'auto' and gallery.model_identity['preprocessing'].get('face') == 'middle square':
        raise InputError(
            f'{args.gallery}: made with --detector none, of face crops; to name faces of films, make it '
            'with a detector of faces'
        )
    embedder = open_embedder(args, gallery)
    check_embedder(gallery, embedder)
    if args.threshold is None and gallery.calibration is None:
        raise InputError(
            f'{args.gallery}: has no threshold, so nobody would be unknown: give --threshold, or '
            'mbv1 gallery calibrate makes one'
        )
    return gallery, embedder


def _one(
    args: argparse.Namespace,
    source: FrameSource,
    place: Path,
    finder: FaceFinder,
    embedder: FaceEmbedder | None,
    gallery: GalleryLike | None,
) -> tuple[Written, list[str]]:
    """One film or camera; what was written of it, and lines to print."""
    from mbv1_backbone.cli.film_outputs import write_film
    from mbv1_backbone.face_gallery.tracks import FaceTracker, track_faces

    threshold = 'calibrated' if args.threshold is None else args.threshold
    fps = source.fps / source.every
    tracker = FaceTracker(fps, embedder, gallery, args.decide_after, threshold)
    faces, ended = 0, _Ended(Path(f'{place}{_TRACKS}'))

    def record(seen: TrackedFaces) -> dict[str, Any]:
        nonlocal faces
        faces += len(seen.faces)
        ended.add(seen.ended)
        return {'faces': [face.as_dict() for face in seen.faces]}

    stream = track_faces(source, finder, tracker)
    written = write_film(source, stream, place, record, None if args.no_pictures else _draw)
    if written.frames:
        ended.add(tracker.finish())
    more = [amount(faces, 'face'), amount(ended.count, 'track')]
    return written, [written.line(place, source, more), *ended.report]


class _Ended:
    """Tracks that have ended, written as they come; of the last ones of them a line to print."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False
        self.count = 0
        self.report: deque[str] = deque(maxlen=_SHOWN)

    def add(self, tracks: Sequence[FaceTrack]) -> None:
        """Write some more; the first call begins the file."""
        if self._begun and not tracks:
            return
        mode, self._begun = 'a' if self._begun else 'w', True
        with self._path.open(mode, encoding='utf-8') as lines:
            lines.writelines(json.dumps(track.as_dict()) + '\n' for track in tracks)
        self.count += len(tracks)
        self.report.extend(_said(track) for track in tracks if track.name is not None)


def _said(track: FaceTrack) -> str:
    """Whom a track shows, in words."""
    when = f'{track.first:.1f} to {track.last:.1f} s'
    return f'  track {track.number}, {when}: {_words(track.name)}, {amount(track.faces, "face")}'


def _words(name: FaceName | None) -> str:
    if name is None:
        return ''
    score = '' if name.score is None else f' {name.score:.2f}'
    return f'{shown(name.identity)}{score}' if name.identity is not None else f'unknown (nearest{score})'


def _draw(seen: TrackedFaces) -> np.ndarray:
    import numpy as np

    from mbv1_backbone.detection.drawing import draw_boxes

    texts = []
    for face in seen.faces:
        number = '' if face.track is None else str(face.track)
        name = '' if face.name is None else face.name.identity or 'unknown'
        texts.append(f'{number} {name}'.strip() or '-')
    boxes = np.array([face.box for face in seen.faces], np.float32).reshape(-1, 4)
    numbers = [0 if face.track is None else face.track + 1 for face in seen.faces]
    return draw_boxes(seen.image, boxes, numbers, texts=texts)
