"""Evaluate embeddings: python tools/evaluate_faces.py X.npz --pairs dev_pairs.csv --draw work_dirs/faces"""

import argparse
import sys
from pathlib import Path

from mbv1_backbone.common.errors import InputError, command_line
from mbv1_backbone.common.files import write_json
from mbv1_backbone.face.evaluation.protocols import (
    Embeddings,
    evaluate_gallery,
    evaluate_pairs,
    read_gallery,
    read_pairs,
)
from mbv1_backbone.face.evaluation.report import draw_pairs, figures_as_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Verification on pairs; identification of probes in a gallery, with strangers or without.'
    )
    parser.add_argument('embeddings', help='.npz file with files and embeddings, of tools/embed_faces.py')
    parser.add_argument('--pairs', help="CSV with file_a, file_b, same and fold, or LFW's pairs.txt")
    parser.add_argument('--gallery', help='CSV with file and identity')
    parser.add_argument('--probes', help='CSV, of people in the gallery')
    parser.add_argument('--unknown', help='CSV, of people who are not')
    parser.add_argument('--json', metavar='FILE', help='write the figures there')
    parser.add_argument('--draw', metavar='FOLDER', help='draw ROC, distances and, with --images, mistakes')
    parser.add_argument('--images', metavar='FOLDER', help='the images that were embedded')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    if not args.pairs and not args.gallery:
        raise InputError('give --pairs, or --gallery with --probes')
    if bool(args.gallery) != bool(args.probes) or (args.unknown and not args.gallery):
        raise InputError('--gallery and --probes go together, and --unknown with them')
    embeddings = Embeddings.read(args.embeddings)
    figures = {}
    if args.pairs:
        pairs = read_pairs(args.pairs)
        figures['verification'], scores, curve = evaluate_pairs(embeddings, pairs)
        if args.draw:
            threshold = figures['verification']['threshold']
            for path in draw_pairs(pairs, scores, curve, threshold, Path(args.draw), args.images):
                print(path)
    if args.gallery:
        tables = [read_gallery(path) if path else None for path in (args.gallery, args.probes, args.unknown)]
        figures['identification'] = evaluate_gallery(embeddings, *tables)
    print(figures_as_text(figures))
    if args.json:
        write_json(args.json, figures, indent=2)


if __name__ == '__main__':
    sys.exit(main())
