"""The verbs of ``tools/face_gallery.py``: each takes parsed arguments and prints what it did."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import find_images
from mbv1_backbone.face.datasets import read_embeddings
from mbv1_backbone.face.finder import face_finder
from mbv1_backbone.face_gallery.enrolment import (
    FOLDER,
    Answer,
    Enrolled,
    Source,
    ask,
    draw_answers,
    enrol,
    entry_path,
    read_sources,
)
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.loading import asked, load
from mbv1_backbone.retrieval import Entry, Gallery, calibrate, maintenance, tune


def build(args: Namespace) -> None:
    """Make a gallery of a folder of people or a CSV file."""
    sources = _sources(args)
    embedder = _embedder(args)
    gallery = Gallery.create(
        args.gallery,
        embedder.dims,
        embedder.fingerprint,
        embedder.preprocessing,
        args.index,
        args.bytes_per_vector,
    )
    _report(gallery, enrol(gallery, embedder, sources, progress=True))


def add(args: Namespace) -> None:
    """Add images to a gallery."""
    sources = _sources(args)
    with Gallery(args.gallery) as gallery:
        _report(gallery, enrol(gallery, _embedder(args), sources, progress=True))


def remove(args: Namespace) -> None:
    """Remove entries."""
    if not (args.id or args.identity or args.file):
        raise InputError('say what to remove: --id, --identity or --file')
    with Gallery(args.gallery) as gallery:
        count = gallery.remove(args.id or (), args.identity, args.file)
        print(f'{count} removed, {len(gallery)} left')


def search(args: Namespace) -> None:
    """Say who is on images."""
    probes = find_images(args.images)
    options = dict(identity=args.identity, metadata=_metadata(args.where))
    threshold = None if args.all else 'calibrated' if args.threshold is None else args.threshold
    with Gallery(args.gallery) as gallery:
        if args.recall is not None:
            options |= tune(gallery, args.recall, args.top)
        embedder = _embedder(args)
        found, failures = ask(
            gallery, embedder, probes, args.top, args.by, progress=True, threshold=threshold, **options
        )
        if args.sheet:
            draw_answers(gallery, found, args.sheet)
    if args.json:
        answers = [answer.as_dict() for answer in found]
        print(json.dumps(dict(answers=answers, failures=failures), ensure_ascii=False, indent=2))
    else:
        for answer in found:
            print('\n'.join(_lines(answer)))
        _list_failures(failures)


def listing(args: Namespace) -> None:
    """List entries."""
    with Gallery(args.gallery) as gallery:
        for entry in gallery.entries(args.identity, args.file, _metadata(args.where)):
            print(json.dumps(dict(asdict(entry)), ensure_ascii=False))


def get(args: Namespace) -> None:
    """Show an entry."""
    with Gallery(args.gallery) as gallery:
        print(json.dumps(asdict(gallery.get(args.id)), ensure_ascii=False, indent=2))


def update(args: Namespace) -> None:
    """Set an entry's metadata; keys that are not named stay."""
    with Gallery(args.gallery) as gallery:
        gallery.update(args.id, {**gallery.get(args.id).metadata, **(_metadata(args.set) or {})})


def stats(args: Namespace) -> None:
    """Print counts, index and sizes."""
    with Gallery(args.gallery) as gallery:
        print(json.dumps({**gallery.stats(), 'calibration': gallery.calibration}, indent=2))


def verify(args: Namespace) -> None:
    """Check a gallery."""
    with Gallery(args.gallery) as gallery:
        report = maintenance.verify(gallery)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.problems:
        raise InputError(f'{args.gallery}: {len(report.problems)} problems; repair mends manifest and index')
    print(f'{report.entries} entries and {report.indexed} vectors in the index are right')


def repair(args: Namespace) -> None:
    """Make manifest and index anew from the entries."""
    with maintenance.repair(args.gallery) as gallery:
        print(f'{len(gallery)} entries, manifest and index made anew')


def rebuild(args: Namespace) -> None:
    """Make the index anew."""
    with Gallery(args.gallery) as gallery:
        print(f'index: {gallery.rebuild(args.index)}')


def compact(args: Namespace) -> None:
    """Give the room of removed entries back."""
    with Gallery(args.gallery) as gallery:
        before = gallery.stats()['bytes_on_disk']
        gallery.compact()
        print(f'{before} bytes before, {gallery.stats()["bytes_on_disk"]} after')


def merge(args: Namespace) -> None:
    """Add other galleries' entries; a gallery that is not there is made."""
    sources = [Gallery(source) for source in args.sources]
    if not Path(args.gallery).exists():
        pins = sources[0].pins
        Gallery.create(args.gallery, pins['dim'], pins['model'], pins['preprocessing']).close()
    with Gallery(args.gallery) as gallery:
        with tqdm(total=sum(map(len, sources)), unit='entry', unit_scale=True, leave=False) as bar:
            counts = maintenance.merge(gallery, sources, bar.update)
        for source, (seen, new) in zip(args.sources, counts, strict=True):
            print(f'{source}: {seen} entries, {new} of them new')
        print(f'{len(gallery)} entries now')


def export(args: Namespace) -> None:
    """Write all entries to a file."""
    with Gallery(args.gallery) as gallery:
        print(f'{args.out}: {maintenance.export(gallery, args.out)} entries')


def import_file(args: Namespace) -> None:
    """Add the entries of an exported file; a gallery that is not there is made."""
    if not Path(args.gallery).exists():
        pins = maintenance.read_export(args.file)['about']
        Gallery.create(args.gallery, pins['dim'], pins['model'], pins['preprocessing']).close()
    with Gallery(args.gallery) as gallery:
        with tqdm(unit='entry', unit_scale=True, leave=False) as bar:
            seen, new = maintenance.import_file(gallery, args.file, bar.update)
        print(f'{args.file}: {seen} entries, {new} of them new; {len(gallery)} now')


def calibrate_threshold(args: Namespace) -> None:
    """Compute and store the threshold for a wanted rate of false positives."""
    strangers = read_embeddings(args.strangers)[1] if args.strangers else None
    with Gallery(args.gallery) as gallery:
        found = calibrate(gallery, args.fpir, strangers)
    share = 'nobody has two images' if found.dir is None else f'{found.dir:.4f} of {found.probes} probes'
    print(
        f'threshold {found.threshold:.4f} (95 %: {found.low:.4f} to {found.high:.4f}) '
        f'for FPIR {found.fpir:g}, from {found.strangers} strangers; DIR there: {share}'
    )


def reembed(args: Namespace) -> None:
    """Make a gallery of another model from the source files of this one."""
    embedder = _embedder(args)
    lost: dict[str, str] = {}

    def embed(entries: Sequence[Entry]) -> list[np.ndarray | None]:
        paths = [entry_path(str(entry.metadata.get(FOLDER, '.')), entry.file) for entry in entries]
        found = embedder.embed(paths)
        lost.update({entries[index].file: reason for index, reason in found.failures.items()})
        vectors: list[np.ndarray | None] = [None] * len(paths)
        for source, vector in zip(found.sources, found.vectors, strict=True):
            vectors[source] = vector
        return vectors

    with Gallery(args.gallery) as gallery:
        made, _ = maintenance.reembed(
            gallery, args.out, embedder.fingerprint, embedder.preprocessing, embedder.dims, embed
        )
        with made:
            print(f'{args.out}: {len(made)} of {len(gallery)} entries')
    _list_failures(lost)


def _sources(args: Namespace) -> list[Source]:
    """The images that are named, or the asked part of them: every N-th person's."""
    sources = read_sources(args.images, args.root)
    if args.part is None:
        return sources
    part, slash, parts = args.part.partition('/')
    if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise InputError(f'--part must be I/N with I from 0 to N - 1, got {args.part}')
    mine = set(sorted({source.identity for source in sources})[int(part) :: int(parts)])
    return [source for source in sources if source.identity in mine]


def _embedder(args: Namespace) -> FaceEmbedder:
    finder = face_finder(args.detector, args.policy)
    embedder = load(args.model, args.checkpoint, kind='embedder', finder=finder, **asked(args))
    print(embedder.backend, file=sys.stderr)
    return embedder


def _metadata(pairs: list[str] | None) -> dict[str, str] | None:
    """``key=value`` arguments as a dict."""
    if wrong := [pair for pair in pairs or () if '=' not in pair]:
        raise InputError(f'metadata is given as key=value, got {wrong[0]}')
    return dict(pair.split('=', 1) for pair in pairs) if pairs else None


def _report(gallery: Gallery, done: Enrolled) -> None:
    for message in done.messages:
        print(message)
    _list_failures(done.failures)
    left = f', {len(done.failures)} left out' if done.failures else ''
    print(
        f'{done.added} added, {done.known} known already{left}; {len(gallery)} entries of '
        f'{len(gallery.identities())} people'
    )


def _list_failures(failures: dict[str, str]) -> None:
    for file, reason in failures.items():
        print(f'left out: {file}: {reason}', file=sys.stderr)


def _lines(answer: Answer) -> list[str]:
    if answer.matches:
        return [
            answer.probe,
            *(
                f'  {place}. {m.identity}  score {m.score:.3f}  distance {m.distance:.3f}  {m.file}'
                for place, m in enumerate(answer.matches, 1)
            ),
        ]
    near = (
        f'nearest: {answer.nearest.identity}, score {answer.nearest.score:.3f}' if answer.nearest else 'empty'
    )
    return [answer.probe, f'  unknown ({near})']
