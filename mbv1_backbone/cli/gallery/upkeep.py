"""The gallery's verbs for the whole of it, such as verify, compact, merge, export and calibrate."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mbv1_backbone.cli.gallery.making import open_folder, opened_or_made, refuse_address
from mbv1_backbone.common.errors import DamagedFileError, InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.names import number_of
from mbv1_backbone.common.outputs import check_output_folder
from mbv1_backbone.retrieval import (
    Entry,
    GalleryLike,
    calibrate,
    create_gallery,
    export as exports,
    maintenance,
    open_gallery,
)
from mbv1_backbone.retrieval.copying import copy as copy_gallery
from mbv1_backbone.retrieval.milvus.address import is_address
from mbv1_backbone.retrieval.places import gallery_exists
from mbv1_backbone.retrieval.salvage import salvage

__all__ = [
    'backup',
    'calibrate_threshold',
    'compact',
    'copy',
    'export',
    'import_file',
    'merge',
    'rebuild',
    'repair',
    'stats',
    'verify',
]


def stats(args: Namespace) -> None:
    """Print counts, index and sizes."""
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        print(json.dumps({**gallery.stats(), 'calibration': gallery.calibration}, indent=2))


def verify(args: Namespace) -> None:
    """Check a gallery."""
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        report = maintenance.verify(gallery)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.problems:
        raise DamagedFileError(
            f'{args.gallery}: {len(report.problems)} problems; repair makes manifest and index anew, '
            'damaged entries only a backup can restore'
        )
    print(
        f'{number_of(report.entries, "entry", "entries")} and {report.indexed} vectors in the index are right'
    )


def repair(args: Namespace) -> None:
    """Make manifest and index anew from the entries, or a new gallery of those that can be read."""
    refuse_address(args.gallery, 'repair')
    if args.out_dir is not None:
        read, count = salvage(args.gallery, args.out_dir)
        print(f'{args.out_dir}: {read} of {count} entries could be read')
        return
    with maintenance.repair(args.gallery) as gallery:
        print(f'{number_of(len(gallery), "entry", "entries")}, manifest and index made anew')


def rebuild(args: Namespace) -> None:
    """Make the index anew."""
    with open_folder(args.gallery, 'rebuild') as gallery:
        print(f'index: {gallery.rebuild(args.index)}')


def compact(args: Namespace) -> None:
    """Give the room of removed entries back."""
    with open_folder(args.gallery, 'compact') as gallery:
        before = gallery.stats()['bytes_on_disk']
        gallery.compact()
        print(f'{before} bytes before, {gallery.stats()["bytes_on_disk"]} after')


def merge(args: Namespace) -> None:
    """Add other galleries' entries; a gallery that is not there is made."""
    with ExitStack() as stack:
        sources = [stack.enter_context(open_gallery(source)) for source in args.sources]
        gallery = stack.enter_context(
            _target(args.gallery, {**sources[0].model_identity, 'made_with': sources[0].made_with})
        )
        with tqdm(total=sum(map(len, sources)), unit='entry', unit_scale=True, leave=False) as bar:
            counts = maintenance.merge(gallery, sources, bar.update)
        for source, (seen, new) in zip(args.sources, counts, strict=True):
            print(f'{source}: {number_of(seen, "entry", "entries")}, {new} of them new')
        for opened, (seen, new) in zip(sources, counts, strict=True):
            if new < seen:
                _tell_other_names(gallery, opened.entries())
        print(f'{number_of(len(gallery), "entry", "entries")} now')


def backup(args: Namespace) -> None:
    """Copy a gallery to a new folder, while others use it."""
    with open_folder(args.gallery, 'backup') as gallery:
        count = maintenance.backup(gallery, args.out_dir)
        print(f'{args.out_dir}: {number_of(count, "entry", "entries")}')


def copy(args: Namespace) -> None:
    """Make an equal gallery at another place, or go on with one that was cut short."""
    with ExitStack() as stack:
        source = stack.enter_context(open_gallery(args.gallery, read_only=args.read_only))
        corrections = not args.without_corrections
        if corrections and is_address(args.target) and (said := source.corrections()):
            raise InputError(
                f'{args.gallery}: {number_of(len(said), "correction")} of faces (correct, split, '
                'merge-people) cannot be kept on Milvus: --without-corrections leaves them behind'
            )
        if gallery_exists(args.target):
            target = stack.enter_context(open_gallery(args.target))
        else:
            identity = source.model_identity
            tied = (identity['dim'], identity['model'], identity['preprocessing'])
            made = create_gallery(args.target, *tied, args.index, made_with=source.made_with)
            target = stack.enter_context(made)
        bar = stack.enter_context(tqdm(total=2 * len(source), unit='entry', unit_scale=True, leave=False))
        count, sent = copy_gallery(source, target, corrections, bar.update)
    print(f'{args.target}: {number_of(count, "entry", "entries")}, {sent} of them sent now; all are equal')


def export(args: Namespace) -> None:
    """Write all entries to a file."""
    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        count = exports.export(gallery, args.out)
        print(f'{args.out}: {number_of(count, "entry", "entries")}')


def import_file(args: Namespace) -> None:
    """Add the entries of an exported file; a gallery that is not there is made."""
    about = exports.read_about(args.file)
    with _target(args.gallery, about) as gallery:
        with tqdm(unit='entry', unit_scale=True, leave=False) as bar:
            seen, new = exports.import_file(gallery, args.file, bar.update)
        if new < seen:
            _tell_other_names(gallery, (entry for entry, _ in exports.read_entries(args.file)))
        print(f'{args.file}: {number_of(seen, "entry", "entries")}, {new} of them new; {len(gallery)} now')
        _tell_threshold(gallery, about.get('calibration'), args)


def _tell_threshold(gallery: GalleryLike, brought: Mapping[str, Any] | None, args: Namespace) -> None:
    if brought is None:
        return
    if gallery.calibration == brought:
        print(f'threshold {brought["threshold"]:.4f} as it was exported')
    else:
        print(
            f'{args.gallery}: the threshold of {args.file} is of its entries alone, and not taken over: '
            f'mbv1 gallery calibrate {args.gallery} makes one of all',
            file=sys.stderr,
        )


def calibrate_threshold(args: Namespace) -> None:
    """Compute and store the threshold for a wanted rate of false positives."""
    from mbv1_backbone.face.files import read_embeddings

    non_mated = read_embeddings(args.non_mated)[1] if args.non_mated else None
    with open_gallery(args.gallery) as gallery:
        found = calibrate(gallery, args.fpir, non_mated)
    share = 'nobody has two images' if found.dir is None else f'{found.dir:.4f} of {found.probes} probes'
    print(
        f'threshold {found.threshold:.4f} (95 %: {found.low:.4f} to {found.high:.4f}) '
        f'for FPIR {found.fpir:g}, from {found.non_mated} non-mated probes; DIR there: {share}'
    )


def _tell_other_names(gallery: GalleryLike, entries: Iterable[Entry]) -> None:
    for entry, own in maintenance.other_names(gallery, entries):
        print(
            shown(
                f'known under another name: {entry.file} of {entry.identity} is {own.file}, '
                f'entry {own.id} of {own.identity} (rename, correct)'
            ),
            file=sys.stderr,
        )


def _target(folder: str, tied: Mapping[str, Any]) -> AbstractContextManager[GalleryLike]:
    """The gallery that entries go into; one that is not there is made, and tied to what they are tied to."""
    if not is_address(folder) and not Path(folder).exists():
        check_output_folder(folder, name='gallery')
    names = tied.get('made_with')
    make = partial(
        create_gallery,
        folder,
        tied['dim'],
        tied['model'],
        tied['preprocessing'],
        made_with=names if isinstance(names, dict) else None,
    )
    return opened_or_made(folder, make)
