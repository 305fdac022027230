"""Classify images, and train classifiers on folders of them.

mbv1 classify predict NAME photos/ 'more/*.jpg' --out-dir classes
mbv1 classify compare NAME NAME --images FOLDER --labels FILE
"""

from __future__ import annotations

from mbv1_backbone.cli import options
from mbv1_backbone.cli.image_verbs import add_images, add_outputs

RESULTS = 'predictions.json'  # of predict
FIGURES, PICTURE = 'accuracy.json', 'accuracy.png'  # of compare
START = 'google/mobilenet_v1_1.0_224_float'  # weights that training starts from


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes; the work is in the modules beside this one."""
    _add_predict(parser)
    _add_compare(parser)
    _add_train(parser)


def _add_predict(parser: options.Parser) -> None:
    made = parser.add_verb(
        'predict', 'Say what is on images: classes and probabilities.', f'{__name__}.predict:run'
    )
    made.usage = 'mbv1 classify predict MODEL [CHECKPOINT] IMAGE [IMAGE ...] [options]'
    add_images(
        made,
        'name in the model zoo, weights, exported file, or a config',
        'IMAGE',
        ': file, name in the zoo or exported file',
    )
    add_outputs(made, 'pictures with their classes', RESULTS)
    made.add_argument(
        '--top', type=options.at_least(1), default=5, metavar='N', help='classes of each image (default 5)'
    )
    options.add_batch_size(made)
    options.add_backend(made)


def _add_train(parser: options.Parser) -> None:
    made = parser.add_verb(
        'train', 'Train a classifier on folders of photographs, a class each.', f'{__name__}.train:run'
    )
    made.add_argument(
        'folder', help='photographs in train/CLASS/ and test/CLASS/ (or val/CLASS/), or in CLASS/ alone'
    )
    made.add_argument(
        '--pretrained',
        default=START,
        metavar='WEIGHTS',
        help=f'to start from: a name of the zoo, a file or timm://NAME, ...; default {START}',
    )
    made.add_argument('--frozen', action='store_true', help='fit a linear classifier on fixed features only')
    made.add_argument(
        '--work-dir',
        action=options.OutputFolder,
        empty=True,
        help='new folder for config, weights, logs and results (default: work_dirs/FOLDER)',
    )
    made.add_argument('--size', type=options.at_least(32), help="of the input (default: the weights')")
    made.add_argument(
        '--held-out',
        type=float,
        metavar='SHARE',
        help='of each class to test with, where no folder is for that (default .25)',
    )
    made.add_argument('--epochs', type=options.at_least(1), help='of the whole network (default 8)')
    made.add_argument(
        '--batch-size', type=options.at_least(2), metavar='N', help='of the whole network (default 32)'
    )
    made.add_argument('--lr', type=float, help='of the whole network, for batches of 32 (default .01)')
    made.add_argument('--seed', type=options.seed, default=0, help='of all choices (default 0)')


def _add_compare(parser: options.Parser) -> None:
    made = parser.add_verb(
        'compare',
        'Accuracy of classifiers on the same photographs, and their cost.',
        f'{__name__}.compare:run',
    )
    made.add_argument(
        'models',
        nargs='+',
        metavar='MODEL',
        help='names in the model zoo, weights, or CONFIG.py:CHECKPOINT; NAME=MODEL names it in the results',
    )
    made.add_argument('--images', required=True, help='folder of the photographs')
    made.add_argument('--labels', required=True, help='text file: image name and class number a line')
    made.add_argument(
        '--crop',
        type=options.within(0, 1),
        default=0.875,
        metavar='SHARE',
        help="of the shorter side, the middle square that all models see (default .875, ImageNet's custom)",
    )
    options.output_folder(
        made, f'folder for {FIGURES} and {PICTURE}', files=(FIGURES, PICTURE), metavar='FOLDER'
    )
