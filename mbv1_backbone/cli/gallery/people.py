"""The gallery's verbs that embed images: build, add, search, reembed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import numpy as np

from mbv1_backbone.cli import options
from mbv1_backbone.cli.film_options import refuse_films
from mbv1_backbone.cli.gallery.embedders import check_embedder, made_with, note_made_with, open_embedder
from mbv1_backbone.cli.gallery.entries import read_filter
from mbv1_backbone.cli.gallery.from_parquet import add_from_parquet
from mbv1_backbone.cli.gallery.making import made_gallery, refuse_address
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.images import find_images
from mbv1_backbone.common.names import number_of
from mbv1_backbone.face_gallery.answers import Answer, ask, draw_answers
from mbv1_backbone.face_gallery.enrolment import Enrolled, enrol
from mbv1_backbone.face_gallery.faces import embed_entries
from mbv1_backbone.face_gallery.sources import Sources, read_photographs, read_sources
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.retrieval import (
    Entry,
    Gallery,
    GalleryLike,
    create_gallery,
    maintenance,
    open_gallery,
    tune,
)
from mbv1_backbone.retrieval.unnamed import is_alone, is_group

__all__ = ['add', 'build', 'reembed', 'search']


def build(args: Namespace) -> None:
    """Make a gallery of a folder of people or a CSV file."""
    sources = _sources(args)
    embedder = open_embedder(args)
    make = partial(
        create_gallery,
        args.gallery,
        embedder.dims,
        embedder.fingerprint,
        embedder.preprocessing,
        args.index,
        args.bytes_per_vector,
        made_with=made_with(args, embedder),
    )
    with made_gallery(args.gallery, make) as gallery:
        _report(gallery, enrol(gallery, embedder, sources, True, args.min_quality), embedder, args.images)


def add(args: Namespace) -> None:
    """Add images to a gallery, or faces that a job has embedded."""
    if args.from_parquet:
        add_from_parquet(args)
        return
    if missing := [name for name in ('--model', 'images') if getattr(args, name.strip('-')) is None]:
        args.parser.error(f'the following arguments are required: {", ".join(missing)}')
    sources = _sources(args)
    with open_gallery(args.gallery) as gallery:
        embedder = open_embedder(args, gallery)
        check_embedder(gallery, embedder)
        note_made_with(gallery, args, embedder)
        _report(gallery, enrol(gallery, embedder, sources, True, args.min_quality), embedder, args.images)


def search(args: Namespace) -> None:
    """Say who is on images."""
    if args.recall is not None:
        refuse_address(args.gallery, 'search --recall')
    refuse_films(args.images)
    probes = find_images(args.images)[: args.num]
    threshold = None if args.all else 'calibrated' if args.threshold is None else args.threshold
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        wanted = read_filter(gallery, args)
        if args.recall is not None and isinstance(gallery, Gallery):
            wanted |= tune(gallery, args.recall, args.top)
        embedder = open_embedder(args, gallery)
        check_embedder(gallery, embedder)
        found, failures = ask(
            gallery, embedder, probes, args.top, args.by, progress=True, threshold=threshold, **wanted
        )
        if args.out:
            draw_answers(gallery, found, args.out)
        if threshold == 'calibrated' and gallery.calibration is None:
            print(
                f'{args.gallery}: no threshold yet, so nobody is unknown; mbv1 gallery calibrate makes one',
                file=sys.stderr,
            )
    _notes(embedder)
    if args.json:
        answers = [answer.as_dict() for answer in found]
        print(options.json_line(dict(answers=answers, failures=failures), indent=2))
    else:
        for answer in found:
            print('\n'.join(_lines(answer)))
        _list_failures(failures)
    if failures and not found:
        raise InputError(f'none of {len(probes)} images could be read, or has a face')


def reembed(args: Namespace) -> None:
    """Make a gallery of another model from the source files of this one."""
    lost: dict[str, str] = {}

    def embed(entries: Sequence[Entry]) -> list[np.ndarray | None]:
        vectors, reasons = embed_entries(embedder, entries)
        lost.update(reasons)
        return vectors

    with open_gallery(args.gallery) as gallery:
        if args.policy is None and _has_photographs_of_several(gallery):
            args.policy = 'all'
        embedder = open_embedder(args, gallery)
        made, _ = maintenance.reembed(
            gallery,
            args.out_dir,
            embedder.fingerprint,
            embedder.preprocessing,
            embedder.dims,
            embed,
            made_with(args, embedder),
        )
        with made:
            print(f'{args.out_dir}: {len(made)} of {len(gallery)} entries')
        if (old := gallery.calibration) is not None:
            print(
                f"{args.out_dir}: no threshold yet, since {args.gallery}'s is of the other model: "
                f'mbv1 gallery calibrate {args.out_dir} --fpir {old.get("fpir", 0.01):g} makes one',
                file=sys.stderr,
            )
    _list_failures(lost)
    _notes(embedder)


def _sources(args: Namespace) -> Sources:
    """The images that are named, or the asked part of them: every N-th person's, or photograph."""
    sources = _named_sources(args)
    if args.part is None:
        return sources
    part, slash, parts = args.part.partition('/')
    if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise InputError(f'--part must be I/N with I from 0 to N - 1, got {args.part}')
    keys = [source.file if source.identity is None else source.identity for source in sources]
    mine = set(sorted(set(keys))[int(part) :: int(parts)])
    if not mine:
        raise InputError(f'--part {args.part}: nobody is in it')
    chosen = (source for source, key in zip(sources, keys, strict=True) if key in mine)
    return Sources(chosen, sources.left_out)


def _named_sources(args: Namespace) -> Sources:
    if not args.unnamed:
        return read_sources(args.images, args.root)
    if args.root is not None:
        raise InputError('--root goes with a CSV file, and --unnamed with a folder of photographs')
    return read_photographs(args.images)


def _has_photographs_of_several(gallery: GalleryLike) -> bool:
    """Whether two entries are of one image file."""
    seen: set[str] = set()
    for entry in gallery.entries():
        if entry.sha256 in seen:
            return True
        seen.add(entry.sha256)
    return False


def _report(gallery: GalleryLike, done: Enrolled, embedder: FaceEmbedder, images: str) -> None:
    for message in done.messages:
        print(message)
    _list_failures(done.failures)
    for other in done.other_names:
        print(shown(f'known under another name: {other}'), file=sys.stderr)
    if done.other_names:
        print(
            f'they keep their names: mbv1 gallery rename {gallery.place} OLD NEW where a name has changed, '
            f'mbv1 gallery correct {gallery.place} ID --identity NAME where an image shows NAME',
            file=sys.stderr,
        )
    _notes(embedder)
    if not (done.added or done.known or done.other_names):
        file, reason = next(iter(done.failures.items()))
        raise InputError(
            f'{images}: none of {len(done.failures)} can be enrolled, the first: {file}: {reason}'
        )
    counts = {
        'moved': done.moved,
        'under another name': len(done.other_names),
        'left out': len(done.failures),
    }
    more = ''.join(f', {count} {what}' for what, count in counts.items() if count)
    print(f'{done.added} added, {done.known} known already{more}; {_contents(gallery)}')


def _contents(gallery: GalleryLike) -> str:
    """What a gallery holds, in words."""
    names = list(gallery.identities())
    alone, groups = sum(map(is_alone, names)), sum(map(is_group, names))
    people = number_of(len(names) - alone - groups, 'person', 'people')
    said = f'{number_of(len(gallery), "entry", "entries")} of {people}'
    if not (alone or groups):
        return said
    return f'{said}, {number_of(groups, "group")} and {number_of(alone, "face")} alone'


def _notes(embedder: FaceEmbedder) -> None:
    if note := embedder.crops_note():
        print(note, file=sys.stderr)
    if note := embedder.uncropped_note():
        print(f'warning: {note}', file=sys.stderr)


def _list_failures(failures: dict[str, str]) -> None:
    for file, reason in failures.items():
        print(shown(f'left out: {file}: {reason}'), file=sys.stderr)


def _lines(answer: Answer) -> list[str]:
    if answer.matches:
        return [
            shown(answer.probe),
            *(
                f'  {place}. {shown(m.identity)}  score {m.score:.3f}  distance {m.distance:.3f}  '
                f'{shown(m.file)}'
                for place, m in enumerate(answer.matches, 1)
            ),
        ]
    near = (
        f'nearest: {shown(answer.nearest.identity)}, score {answer.nearest.score:.3f}'
        if answer.nearest
        else 'empty'
    )
    return [shown(answer.probe), f'  unknown ({near})']
