"""Embed the faces of a folder: python tools/embed_faces.py MODEL FOLDER --out X.npz"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.common.images import find_images
from mbv1_backbone.face.evaluation.metric import write_embeddings
from mbv1_backbone.face.finder import POLICIES, face_finder
from mbv1_backbone.inference.loading import add_arguments, asked, load


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write embeddings of all images of a folder: files (relative to it) and embeddings.'
    )
    parser.add_argument(
        'model', help='checkpoint, published weights, name in the model zoo, exported file, or a config'
    )
    parser.add_argument('folder')
    parser.add_argument('--out', required=True, help='.npz file to write')
    parser.add_argument('--checkpoint', help='of the config')
    parser.add_argument(
        '--detector', help="YuNet's .onnx file: find and align the faces of whole photographs"
    )
    parser.add_argument('--policy', choices=[p for p in POLICIES if p != 'all'], default='largest')
    parser.add_argument('--flip', action='store_true', help='average with the mirrored face')
    parser.add_argument('--batch-size', type=int, default=8)
    add_arguments(parser)
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if Path(args.out).suffix != '.npz':
        raise InputError(f'--out must end in .npz, got {args.out}')
    if args.batch_size < 1:
        raise InputError(f'--batch-size must be at least 1, got {args.batch_size}')
    if not Path(args.folder).is_dir():
        raise InputError(f'{args.folder}: no such folder')
    images = find_images([args.folder])
    finder = face_finder(args.detector, args.policy)
    embedder = load(args.model, args.checkpoint, kind='embedder', finder=finder, **asked(args))
    print(embedder.backend)
    found = embedder.embed(images, args.batch_size, args.flip, progress=True)
    names = [path.relative_to(args.folder).as_posix() for path in images]
    for index, reason in found.failures.items():
        print(f'left out: {names[index]}: {reason}', file=sys.stderr)
    if not len(found):
        raise InputError(f'{args.folder}: none of {len(images)} images has an embedding')
    write_embeddings(args.out, [names[i] for i in found.sources], found.vectors)
    print(
        f'{args.out}: {len(found)} embeddings of {embedder.dims} dimensions, {len(found.failures)} left out'
    )


if __name__ == '__main__':
    sys.exit(main())
