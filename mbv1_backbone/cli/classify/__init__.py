"""Classify images, and train classifiers on folders of them.

mbv1 classify predict NAME photos/ 'more/*.jpg' --out-dir classes
"""

from __future__ import annotations

from mbv1_backbone.cli import options

RESULTS = 'predictions.json'


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes; the work is in the modules beside this one."""
    _add_predict(parser)


def _add_predict(parser: options.Parser) -> None:
    made = parser.add_verb(
        'predict', 'Say what is on images: classes and probabilities.', f'{__name__}.predict:run'
    )
    made.usage = 'mbv1 classify predict MODEL [CHECKPOINT] IMAGE [IMAGE ...] [options]'
    made.add_argument(
        'model', metavar='MODEL', help='name in the model zoo, weights, exported file, or a config'
    )
    made.add_argument(
        'images',
        nargs='*',
        metavar='[CHECKPOINT] IMAGE',
        help='image files, folders or globs; of a config its checkpoint comes first: file, name '
        'in the zoo or exported file',
    )
    options.output_folder(
        made, f'folder for pictures with their classes and {RESULTS}', files=(RESULTS,), metavar='FOLDER'
    )
    made.add_argument('--no-pictures', action='store_true', help=f'write {RESULTS} alone')
    made.add_argument(
        '--top', type=options.at_least(1), default=5, metavar='N', help='classes of each image (default 5)'
    )
    options.add_batch_size(made)
    options.add_backend(made)
