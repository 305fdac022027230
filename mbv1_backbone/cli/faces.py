"""Face embeddings: embed a folder, evaluate, split people, prepare data.

mbv1 faces embed NAME FOLDER --out embeddings.npz
mbv1 faces evaluate embeddings.npz --pairs pairs.csv
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from mbv1_backbone.cli import (
    attribute_costs,
    face_attributes,
    face_crops,
    face_fit,
    face_groups,
    face_targets,
    face_tracks,
    options,
)
from mbv1_backbone.common.choices import FACE_POLICIES
from mbv1_backbone.common.errors import InputError

__all__ = [
    'DRAWINGS',
    'LISTS',
    'add_arguments',
    'run_embed',
    'run_evaluate',
    'run_prepare_lfw',
    'run_soft_attributes',
    'run_split',
]

LISTS = ('train_identities.txt', 'dev_identities.txt', 'dev_pairs.csv', 'dev_gallery.csv')
DRAWINGS = ('roc.png', 'distances.png', 'mistakes.png')


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    _add_embed(parser.add_verb('embed', 'Write embeddings of all images of a folder.', run_embed))
    _add_evaluate(
        parser.add_verb(
            'evaluate',
            'Verification on pairs; identification of probes in a gallery, open-set or closed-set.',
            run_evaluate,
        )
    )
    face_groups.add_arguments(
        parser.add_verb('groups', 'Errors of an embedder by group of people.', face_groups.run)
    )
    face_attributes.add_arguments(
        parser.add_verb(
            'attributes', 'Find the faces of photographs, and say what each looks like.', face_attributes.run
        )
    )
    face_tracks.add_arguments(
        parser.add_verb(
            'track', 'Follow the faces of films and cameras, and say whom they show.', face_tracks.run
        )
    )
    attribute_costs.add_arguments(
        parser.add_verb(
            'attribute-costs', 'Mean AP of attribute networks beside their cost.', attribute_costs.run
        )
    )
    _add_split(
        parser.add_verb(
            'split',
            'Write lists of people for training and held out, and pairs, gallery and probes of these.',
            run_split,
        )
    )
    face_crops.add_arguments(
        parser.add_verb('crop', 'Find the faces of photographs, and write them aligned.', face_crops.run)
    )
    face_targets.add_arguments(
        parser.add_verb('targets', 'Run teachers on faces: what students learn from.', face_targets.run)
    )
    face_fit.add_arguments(parser.add_verb('fit', "Fit a student's last layer to teachers.", face_fit.run))
    made = parser.add_verb(
        'prepare-lfw',
        'Fetch Labeled Faces in the Wild, cut its faces out, and write its pairs.',
        run_prepare_lfw,
    )
    options.output_folder(
        made, 'new folder: images/PERSON/IMAGE and pairs.txt', empty=True, required=True, former=True
    )
    made.add_argument('--source', help='folder of people that is there already (default: download)')
    _add_soft_attributes(
        parser.add_verb(
            'soft-attributes',
            "Soft labels for the attribute network, from a teacher's embeddings.",
            run_soft_attributes,
        )
    )


def _add_embed(parser: options.Parser) -> None:
    parser.add_argument(
        'model', help='name in the model zoo, checkpoint, published weights, exported file, or a config'
    )
    parser.add_argument('folder', help='of images; files are written relative to it')
    options.output_file(parser, ('.npz',), 'file to write: files and embeddings', required=True)
    parser.add_argument('--checkpoint', help='of the config')
    options.add_detector(parser)
    parser.add_argument('--policy', choices=[p for p in FACE_POLICIES if p != 'all'], default='largest')
    parser.add_argument('--flip', action='store_true', help='average with the mirrored face')
    options.add_batch_size(parser)
    options.add_backend(parser)


def _add_evaluate(parser: options.Parser) -> None:
    parser.add_argument('embeddings', help='.npz file with files and embeddings, of mbv1 faces embed')
    parser.add_argument('--pairs', help="CSV with file_a, file_b, same and fold, or LFW's pairs.txt")
    parser.add_argument('--gallery', help='CSV with file and identity')
    parser.add_argument('--probes', help='CSV, of people in the gallery')
    parser.add_argument('--unknown', help='CSV, of people who are not')
    options.output_file(parser, ('.json',), 'write the figures there')
    options.output_folder(parser, 'draw ROC, distances and, with --images, mistakes there', files=DRAWINGS)
    parser.add_argument('--images', metavar='FOLDER', help='the images that were embedded')


def _add_split(parser: options.Parser) -> None:
    parser.add_argument('folder', help='has images/PERSON/IMAGE')
    options.output_folder(parser, 'folder for the lists (default: FOLDER, beside images/)', files=LISTS)
    parser.add_argument('--list', help='CSV with file and identity, in place of one folder a person')
    parser.add_argument('--held-out', type=float, default=0.2, help='share of people (default .2)')
    parser.add_argument('--salt', default='', help='another word deals the people anew')


def _add_soft_attributes(parser: options.Parser) -> None:
    parser.description = (
        "Judge faces by the main directions of a teacher's embeddings: probabilities, no real attributes, "
        'but soft labels of a real teacher where no teacher of attributes is to be had.'
    )
    parser.add_argument('embeddings', help='.npz file with files and embeddings: the faces to judge')
    parser.add_argument('--basis', help='.npz file whose main directions are used (default: the same)')
    parser.add_argument(
        '--count', type=options.at_least(1), default=40, help='attributes (default 40, as CelebA has)'
    )
    options.output_file(parser, ('.npz',), 'file to write: files, names, attributes', required=True)


def run_embed(args: argparse.Namespace) -> None:
    """Embed a folder."""
    from mbv1_backbone.cli.networks import open_network
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.face.files import write_embeddings
    from mbv1_backbone.inference.face_detectors import named_finder

    if not Path(args.folder).is_dir():
        raise InputError(f'{args.folder}: no such folder')
    images = find_images([args.folder])
    finder = named_finder(args.detector, args.policy)
    if finder is not None:
        finder.open()
    embedder = open_network(args, args.model, args.checkpoint, 'embedder', finder)
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
    if note := embedder.crops_note():
        print(note)
    if note := embedder.uncropped_note():
        print(f'warning: {note}', file=sys.stderr)


def run_evaluate(args: argparse.Namespace) -> None:
    """Evaluate embeddings on pairs or a gallery, print the figures and draw them."""
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.face.evaluation.protocols import (
        Embeddings,
        evaluate_gallery,
        evaluate_pairs,
        read_gallery,
        read_pairs,
    )
    from mbv1_backbone.face.evaluation.report import draw_pairs, figures_as_text

    if not args.pairs and not args.gallery:
        raise InputError('give --pairs, or --gallery with --probes')
    if bool(args.gallery) != bool(args.probes) or (args.unknown and not args.gallery):
        raise InputError('--gallery and --probes go together, and --unknown with them')
    embeddings = Embeddings.read(args.embeddings)
    figures = {}
    if args.pairs:
        pairs = read_pairs(args.pairs)
        figures['verification'], scores, curve = evaluate_pairs(embeddings, pairs)
        if args.out_dir:
            threshold = figures['verification']['threshold']
            for path in draw_pairs(pairs, scores, curve, threshold, Path(args.out_dir), args.images):
                print(path)
    if args.gallery:
        unknown = read_gallery(args.unknown) if args.unknown else None
        figures['identification'] = evaluate_gallery(
            embeddings, read_gallery(args.gallery), read_gallery(args.probes), unknown
        )
    print(figures_as_text(figures))
    if args.out:
        write_json(args.out, figures, indent=2)


def run_split(args: argparse.Namespace) -> None:
    """Deal people into training and held out, and write the lists of both."""
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.face.evaluation.splits import split_people, write_protocol
    from mbv1_backbone.face.files import read_identities, scan_people

    folder, out = Path(args.folder), Path(args.out_dir or args.folder)
    check_output_folder(out, LISTS)
    files = read_identities(args.list) if args.list else scan_people(folder / 'images')
    training, held = split_people(list(files.values()), args.held_out, args.salt)
    counts = write_protocol(out, files, training, held)
    print(f'{out}: {len(training)} people for training, {len(held)} held out')
    print(', '.join(f'{name}: {count}' for name, count in counts.items()))


def run_prepare_lfw(args: argparse.Namespace) -> None:
    """Fetch and cut LFW."""
    from mbv1_backbone.face.lfw import cut_lfw, fetch_lfw

    count = cut_lfw(args.source or fetch_lfw(), args.out_dir)
    print(f'{args.out_dir}: {count} images; next: mbv1 faces split {args.out_dir}')


def run_soft_attributes(args: argparse.Namespace) -> None:
    """Write soft attributes of faces, of their embeddings."""
    import numpy as np

    from mbv1_backbone.common.errors import user_errors
    from mbv1_backbone.common.files import write_atomically
    from mbv1_backbone.face.attributes import soft_attributes
    from mbv1_backbone.face.files import read_embeddings

    files, embeddings = read_embeddings(args.embeddings)
    basis = read_embeddings(args.basis)[1] if args.basis else embeddings
    with user_errors('--count'):
        values = soft_attributes(embeddings, basis, args.count)
    names = [f'direction {number}' for number in range(args.count)]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, files=np.array(files), names=np.array(names), attributes=values)
    write_atomically(args.out, buffer.getvalue())
    print(f'{args.out}: {len(files)} faces, {args.count} attributes')
