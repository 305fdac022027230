"""Soft labels for the attribute network: python tools/soft_attributes.py teacher.npz --out attributes.npz"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np

from mbv1_backbone.common.errors import InputError, command_line, user_errors
from mbv1_backbone.common.files import write_atomically
from mbv1_backbone.face.attributes import soft_attributes
from mbv1_backbone.face.datasets import read_embeddings


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Judge faces by the main directions of a teacher's embeddings: probabilities, no real "
        'attributes, but soft labels of a real teacher where no teacher of attributes is to be had.'
    )
    parser.add_argument('embeddings', help='.npz file with files and embeddings: the faces to judge')
    parser.add_argument('--basis', help='.npz file whose main directions are used (default: the same)')
    parser.add_argument('--count', type=int, default=40, help='attributes (default 40, as CelebA has)')
    parser.add_argument('--out', required=True, help='.npz file to write: files, names, attributes')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if Path(args.out).suffix != '.npz':
        raise InputError(f'--out must end in .npz, got {args.out}')
    files, embeddings = read_embeddings(args.embeddings)
    basis = read_embeddings(args.basis)[1] if args.basis else embeddings
    with user_errors('--count'):
        values = soft_attributes(embeddings, basis, args.count)
    names = [f'direction {number}' for number in range(args.count)]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, files=np.array(files), names=np.array(names), attributes=values)
    write_atomically(args.out, buffer.getvalue())
    print(f'{args.out}: {len(files)} faces, {args.count} attributes')


if __name__ == '__main__':
    sys.exit(main())
