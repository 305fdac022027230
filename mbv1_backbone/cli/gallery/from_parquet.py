"""``mbv1 gallery add --from-parquet``: a job's faces into a gallery of either kind."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from mbv1_backbone.cli.gallery.making import opened_or_made
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.names import number_of
from mbv1_backbone.retrieval import create_gallery

if TYPE_CHECKING:
    from mbv1_backbone.jobs.enrolment import Named

__all__ = ['add_from_parquet']

_WITH_A_MODEL = ('model', 'checkpoint', 'root', 'part', 'policy')


def add_from_parquet(args: Namespace) -> None:
    """Add what the files of a job hold; a gallery that is not there is made."""
    from mbv1_backbone.jobs.enrolment import check_parquet, enrol_parquet, parquet_files

    if wrong := next((name for name in _WITH_A_MODEL if getattr(args, name) is not None), None):
        raise InputError(f'--{wrong} goes with images, and --from-parquet with what is embedded already')
    if not 0 <= args.min_quality <= 1:
        raise InputError(f'--min-quality must lie in 0..1, got {args.min_quality:g}')
    named = _named(args)
    files = parquet_files(args.from_parquet)
    about = check_parquet(files)
    make = partial(
        create_gallery,
        args.gallery,
        about['dims'],
        about['model'],
        about['preprocessing'],
        made_with=about['made_with'],
    )
    with opened_or_made(args.gallery, make) as gallery:
        gallery.check_model(about['model'], about['preprocessing'])
        with tqdm(unit='face', unit_scale=True, leave=False) as bar:
            done = enrol_parquet(gallery, files, named, args.min_quality, bar.update, about)
        if not len(gallery):
            raise InputError(f'{args.from_parquet[0]}: none of {done.faces} faces can be added')
        print(f'{args.gallery}: {done.added} added, {done.known} known, {len(gallery)} now')
    for file in done.nameless:
        print(shown(f'left out: {file}: nobody says whose face it is'), file=sys.stderr)
    if done.without_name or done.poor:
        print(
            f'left out: {number_of(done.without_name, "face", "faces")} without a name, '
            f'{done.poor} of a lower quality',
            file=sys.stderr,
        )


def _named(args: Namespace) -> Named:
    from mbv1_backbone.jobs.enrolment import by_folder, by_table, nobody

    if args.unnamed and args.images is not None:
        raise InputError(f'--unnamed names nobody, {args.images} does: give one of them')
    if args.unnamed:
        return nobody
    if args.images is None:
        return by_folder
    if not Path(args.images).is_file():
        raise InputError(f'{args.images}: no CSV file, which would say whose faces these are')
    return by_table(args.images)
