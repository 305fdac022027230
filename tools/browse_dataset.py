"""Draw training samples as the network sees them: python tools/browse_dataset.py CONFIG --out-dir samples"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from tqdm import tqdm

from mbv1_backbone import training
from mbv1_backbone.common.errors import command_line
from mbv1_backbone.detection.browse import browse
from mbv1_backbone.detection.drawing import save_png


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw augmented training images, boxes and matched anchors.')
    parser.add_argument('config')
    parser.add_argument('--out-dir', required=True, help='folder for the PNG files')
    parser.add_argument('--num', type=int, default=16, help='samples (default 16)')
    parser.add_argument('--data-root', help="folder of the data, in place of the config's")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides: key=value ...')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    cfg = training.load_config(args.config, args.cfg_options, args.data_root)
    training.require_data(cfg, 'train_dataloader')
    boxes = anchors = 0
    for index, view in enumerate(tqdm(browse(cfg, args.num), total=args.num, unit='image')):
        save_png(view.picture, Path(args.out_dir) / f'{index:04d}_{Path(view.name).stem}.png')
        boxes, anchors = boxes + view.boxes, anchors + view.anchors
    print(f'{args.out_dir}: {boxes} boxes (left), {anchors} anchors matched to them (right)')


if __name__ == '__main__':
    sys.exit(main())
