"""Look at a data set with boxes before training on it.

mbv1 data check data/cards --out-dir work_dirs/cards_check
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options

if TYPE_CHECKING:
    from mbv1_backbone.detection.data_check import DataCheck

__all__ = ['add_arguments', 'run_check']

PAGE, REPORT = 'check.html', 'check.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    made = parser.add_verb(
        'check', 'Counts, boxes without an anchor, near-duplicates, unreadable files, samples.', run_check
    )
    made.add_argument('data', help="folder, YOLO's data.yaml or COCO's .json; or Roboflow's, or PASCAL VOC's")
    made.add_argument('--layout', choices=('coco', 'yolo', 'voc'), help='default: the one that is found')
    made.add_argument(
        '--model', default='ssd_mbv1', help='whose anchors are looked at, as of mbv1 train (default ssd_mbv1)'
    )
    made.add_argument(
        '--size', type=options.at_least(32), help='of its input (default: as the boxes ask for)'
    )
    options.output_folder(made, f'folder for {PAGE} and {REPORT}', files=(PAGE, REPORT), required=True)


def run_check(args: argparse.Namespace) -> None:
    """Look at everything, and write the page."""
    from tqdm import tqdm

    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.detection.data_check import check_data, write_page
    from mbv1_backbone.detection.formats.layouts import open_data
    from mbv1_backbone.training.own_data import base_config
    from mbv1_backbone.training.own_fit import anchors_for

    cfg, _, _ = base_config(args.model)  # before files are read
    unreadable: dict[Path, str] = {}
    data = open_data(args.data, args.layout, unreadable)
    count = sum(len(split.coco['images']) for split in data.splits.values())
    with tqdm(total=count, unit='picture', desc='reading', leave=False) as bar:
        check = check_data(data, unreadable, bar.update)
    found = anchors_for(check.found, cfg, args.size)
    check.anchors, check.uncovered = found.lines, found.uncovered
    folder = Path(args.out_dir)
    write_page(check, folder / PAGE)
    write_json(folder / REPORT, check.report(), indent=1)
    print('\n'.join(_summary(check)))
    print(f'{folder / PAGE}, {folder / REPORT}')


def _summary(check: DataCheck) -> list[str]:
    data = check.data
    lines = [f'{data.root}: {data.layout}, {len(data.classes)} classes']
    for part, classes in check.counts().items():
        boxes = sum(counts['boxes'] for counts in classes.values())
        lines.append(f'  {part}: {len(check.found[part].images)} images, {boxes} boxes')
        empty = [name for name, counts in classes.items() if not counts['boxes']]
        if empty:
            lines.append(f'  {part}: no box of {", ".join(empty)}')
    lines += [f'  {note}' for note in data.notes]
    lines += [f'  {line}' for line in check.anchors]
    lines.append(f'  boxes that no anchor covers: {len(check.uncovered)}')
    lines.append(f'  nearly the same picture in two parts: {len(check.duplicates)}')
    lines.append(f'  pictures that cannot be read: {len(check.unreadable)}')
    return [*lines, *(f'    {path}: {reason}' for path, reason in [*check.unreadable.items()][:3])]
