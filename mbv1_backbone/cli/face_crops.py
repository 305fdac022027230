"""``mbv1 faces crop``: the faces of photographs, found, aligned and written as files.

mbv1 faces crop PHOTOGRAPHS --out-dir CROPS
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.choices import FACE_POLICIES
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    from mbv1_backbone.face.crops import Cropped

__all__ = ['add_arguments', 'run']

_SHOWN = 20  # photographs without a face that are named


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'Find the faces of photographs, turn them upright by their landmarks, and write each as a PNG file '
        'under the name of its photograph. A run that was cut short goes on where it was.'
    )
    parser.add_argument('folder', help='of photographs, in folders at any depth')
    options.output_folder(parser, 'folder for the crops and their list', required=True)
    parser.add_argument('--size', type=options.at_least(16), default=160, help='side of a crop (default 160)')
    parser.add_argument(
        '--detector',
        default='auto',
        metavar='NAME',
        help='what finds the faces: auto (default) is RetinaFace of the zoo; another name in the zoo, a file '
        "of mbv1 export, YuNet's .onnx. Crops, too, are aligned anew",
    )
    parser.add_argument(
        '--policy',
        choices=FACE_POLICIES,
        default='largest',
        help='of several faces: the largest (default), all, or none of them',
    )
    parser.add_argument(
        '--remove-gone',
        action='store_true',
        help='remove crops whose photographs are no longer in the folder; else they stay, and are told',
    )


def run(args: argparse.Namespace) -> None:
    """Write the crops."""
    from tqdm import tqdm

    from mbv1_backbone.common.folders import walk_images
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.face.crop_list import LIST
    from mbv1_backbone.face.crops import crop_faces, crop_names
    from mbv1_backbone.inference.face_detectors import named_finder

    folder, out = Path(args.folder), Path(args.out_dir)
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f'--out-dir {out}: lies in {folder}, where the next run would take crops for photographs'
        )
    found = walk_images(folder)
    found.log(str(folder))
    files = [path.relative_to(folder).as_posix() for path in found]
    if not files:
        raise InputError(f'{folder}: no images')
    check_output_folder(out, [LIST, *crop_names(files).values()], name='--out-dir')
    finder = named_finder(args.detector, args.policy)
    if finder is None:
        raise InputError('--detector none: crops are cut out by a detector')
    finder.crops = False  # they are aligned anew
    finder.open()
    with tqdm(total=len(files), unit='image', dynamic_ncols=True) as bar:
        done = crop_faces(folder, files, out, finder, args.size, bar.update, args.remove_gone)
    _report_gone(done, folder, args.remove_gone)
    _report(done, folder, out)


def _report(done: Cropped, folder: Path, out: Path) -> None:
    for file, reason in list(done.left_out.items())[:_SHOWN]:
        print(f'left out: {file}: {reason}', file=sys.stderr)
    if len(done.left_out) > _SHOWN:
        print(f'left out: {len(done.left_out) - _SHOWN} more, listed in {out}', file=sys.stderr)
    if not done.crops:
        raise InputError(f'{folder}: no face in any of {done.photographs} photographs')
    before = f', {done.before} of them done before' if done.before else ''
    print(
        f'{out}: {done.crops} faces of {done.photographs} photographs{before}; {len(done.left_out)} left out'
    )


def _report_gone(done: Cropped, folder: Path, removed: bool) -> None:
    """Say which photographs' crops are still there, or were."""
    with_crops = {file: crops for file, crops in done.gone.items() if crops}
    if not with_crops:
        return
    named = ', '.join(list(with_crops)[:_SHOWN]) + (', ...' if len(with_crops) > _SHOWN else '')
    count = sum(map(len, with_crops.values()))
    what = 'are removed' if removed else 'stay (--remove-gone removes them)'
    print(
        f'not in {folder} any more: {named}; crops of such photographs: {count}, which {what}',
        file=sys.stderr,
    )
