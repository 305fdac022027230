"""A gallery of faces: python tools/face_gallery.py build people FOLDER --model MODEL"""

import argparse
import sys

from mbv1_backbone.cli import gallery as commands
from mbv1_backbone.common.errors import command_line
from mbv1_backbone.face.finder import POLICIES
from mbv1_backbone.inference.loading import add_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Build, search, change and keep a gallery of faces.')
    verbs = parser.add_subparsers(required=True, metavar='VERB')

    def verb(name: str, command, *options: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=command.__doc__, description=command.__doc__, parents=options)
        made.add_argument('gallery', help='folder of the gallery')
        made.set_defaults(command=command)
        return made

    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        '--model', required=True, help='name in the model zoo, weights, checkpoint, exported file or config'
    )
    model.add_argument('--checkpoint', help='of the config')
    model.add_argument('--detector', help="YuNet's .onnx file: find and align faces in whole photographs")
    model.add_argument('--policy', choices=POLICIES, default='largest', help='of several faces in an image')
    add_arguments(model)
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument('--identity', help='this person only')
    which.add_argument('--where', nargs='+', metavar='KEY=VALUE', help='entries with this metadata only')

    for name, command in (('build', commands.build), ('add', commands.add)):
        made = verb(name, command, model)
        made.add_argument('images', help='FOLDER/PERSON/IMAGE, or a CSV file with file, identity, metadata')
        made.add_argument('--root', help="folder that the CSV file's paths start from (default: its own)")
        made.add_argument(
            '--part', metavar='I/N', help='only part I of N (0 first), to build N galleries at once'
        )
        if name == 'build':
            made.add_argument('--index', help="FAISS's factory string (default: by size)")
            made.add_argument('--bytes-per-vector', type=int, help='memory for a vector in the index')
    made = verb('remove', commands.remove)
    made.add_argument('--id', type=int, nargs='+')
    made.add_argument('--identity')
    made.add_argument('--file')
    made = verb('search', commands.search, model, which)
    made.add_argument('images', nargs='+', help='image files, folders or globs')
    made.add_argument('--top', type=int, default=5, help='matches of each face (default 5)')
    made.add_argument('--by', choices=['best', 'mean'], help='match people, by this score of their images')
    made.add_argument('--threshold', type=float, help='lowest score (default: the calibrated one, if any)')
    made.add_argument('--all', action='store_true', help='show matches below the threshold too')
    made.add_argument('--recall', type=float, help='search as widely as finds this share of the true nearest')
    made.add_argument('--json', action='store_true', help='print JSON')
    made.add_argument('--sheet', metavar='PNG', help='draw probes and matches')
    made = verb('list', commands.listing, which)
    made.add_argument('--file')
    verb('get', commands.get).add_argument('id', type=int)
    made = verb('update', commands.update)
    made.add_argument('id', type=int)
    made.add_argument('--set', nargs='+', metavar='KEY=VALUE', required=True)
    made = verb('calibrate', commands.calibrate_threshold)
    made.add_argument('--fpir', type=float, required=True, help='share of strangers taken for somebody')
    made.add_argument('--strangers', help='.npz file of embeddings of people who are not in the gallery')
    for name, command in (
        ('stats', commands.stats),
        ('verify', commands.verify),
        ('repair', commands.repair),
    ):
        verb(name, command)
    verb('rebuild', commands.rebuild).add_argument('--index', help="FAISS's factory string")
    verb('compact', commands.compact)
    verb('merge', commands.merge).add_argument('sources', nargs='+', help='other galleries')
    verb('export', commands.export).add_argument('out', help='.npz file')
    verb('import', commands.import_file).add_argument('file', help='.npz file of export')
    verb('reembed', commands.reembed, model).add_argument('out', help='folder of the new gallery')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    args.command(args)


if __name__ == '__main__':
    sys.exit(main())
