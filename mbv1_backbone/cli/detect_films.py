"""``mbv1 detect`` of films and cameras: a drawn film, JSON lines, tracks, counts at lines and in zones."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli.film_options import films_of, open_given
from mbv1_backbone.cli.film_outputs import Written, each_film, names_of, write_film
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.wording import amount

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.inference.detector import Detector
    from mbv1_backbone.inference.tracking import TrackedFrame

__all__ = ['run_films']


def run_films(args: argparse.Namespace) -> None:
    """Detect, follow, count, draw, write."""
    from mbv1_backbone.cli.networks import is_config, open_network
    from mbv1_backbone.runtime.coreml import check_coreml

    check_coreml(Path(args.model))
    follows = is_config(args.model)
    films = films_of(args.images[follows:])
    if not films:
        raise InputError(f'{args.model}: give its checkpoint and a film or camera after it')
    if args.no_tracks and (args.line or args.zone):
        raise InputError('--line and --zone count tracks, and --no-tracks leaves them out')
    places = names_of(films, args.out_dir, not args.no_pictures)
    if not args.no_tracks:
        _need_tracks()
    reopen = partial(open_given, args)
    with reopen(films[0]) as first:  # before the network
        detector = open_network(args, args.model, args.images[0] if follows else None, 'detector')
        print(detector.backend)
        each_film(films, places, reopen, first, partial(_one, args, detector))


def _need_tracks() -> None:
    """Check that the packages for tracks are there, before the work.

    Raises:
        NotInstalledError: If they are not.
    """
    from mbv1_backbone.common.errors import NotInstalledError
    from mbv1_backbone.video.extra import needed

    try:
        needed('trackers', 'tracks')
    except NotInstalledError as error:
        raise NotInstalledError(f'{error}; --no-tracks goes without') from error


def _one(args: argparse.Namespace, detector: Detector, source: Any, place: Path) -> tuple[Written, list[str]]:
    """One film or camera; what was written of it, and lines to print."""
    found, numbers, last = 0, 0, {}

    def record(seen: TrackedFrame) -> dict[str, Any]:
        nonlocal found, numbers, last
        found, last = found + len(seen), seen.counts
        numbers = max(numbers, int(seen.tracks.max(initial=-1)) + 1)
        return _line(detector, seen)

    def draw(seen: TrackedFrame) -> np.ndarray:
        return _draw(detector, seen)

    stream = detector.track(
        source,
        score_thr=args.score_thr,
        tracks=not args.no_tracks,
        lines=args.line or (),
        zones=args.zone or (),
        batch_size=args.batch_size,
    )
    written = write_film(source, stream, place, record, None if args.no_pictures else draw)
    more = [amount(found, 'detection'), *([] if args.no_tracks else [amount(numbers, 'track')])]
    report = [written.line(place, source, more)]
    for line, count in zip(args.line or (), last.get('lines', ()), strict=False):
        where = ','.join(f'{value:g}' for point in line.points for value in point)
        report.append(f'line {where}: {count["in"]} in, {count["out"]} out')
    for zone, count in zip(args.zone or (), last.get('zones', ()), strict=False):
        where = ','.join(f'{value:g}' for point in zone.points for value in point)
        report.append(f'zone {where}: {count["inside"]} inside at the end, {count["entered"]} entered')
    return written, report


def _line(detector: Detector, seen: TrackedFrame) -> dict[str, Any]:
    """What is said of a frame, as JSON."""
    rows = detector.to_coco(seen.detections, 0, '')
    for row, track in zip(rows, seen.tracks.tolist(), strict=True):
        del row['image_id'], row['file_name']
        row['track'] = track if track >= 0 else None
    counts = Counter(row['category_name'] for row in rows)
    return {'detections': rows, 'counts': dict(sorted(counts.items())), **seen.counts}


def _draw(detector: Detector, seen: TrackedFrame) -> np.ndarray:
    from mbv1_backbone.detection.drawing import draw_boxes

    found = seen.detections
    names = [detector.classes[label] for label in found.labels]
    if (seen.tracks >= 0).any():
        texts = [
            f'{name} {track}' if track >= 0 else name
            for name, track in zip(names, seen.tracks.tolist(), strict=True)
        ]
        numbers = (seen.tracks + 1).tolist()  # for the colours
        drawn = draw_boxes(seen.image, found.boxes, numbers, texts=texts, masks=found.masks)
    else:
        said = (found.labels.tolist(), detector.classes, found.scores.tolist())
        drawn = draw_boxes(seen.image, found.boxes, *said, masks=found.masks)
    return drawn if seen.counter is None else seen.counter.draw(drawn)
