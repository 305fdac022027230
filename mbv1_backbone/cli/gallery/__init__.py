"""Build, search, change and keep a gallery of faces.

mbv1 gallery build people FOLDER --model NAME
mbv1 gallery search people photo.jpg --model NAME
"""

from __future__ import annotations

from typing import Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.pairs import Pairs
from mbv1_backbone.common.choices import FACE_POLICIES

_NUMBER = 'of an entry, as list shows it'
_ADDRESS = 'milvus://HOST:PORT/NAME'


class _NewGallery(options.OutputFolder):
    """The place of a new gallery, checked as it is parsed: a folder, or on a Milvus server."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Check and store."""
        from mbv1_backbone.retrieval.milvus.address import is_address, parse_address

        if is_address(values):
            setattr(namespace, self.dest, parse_address(values).text)
        else:
            super().__call__(parser, namespace, values, option_string)


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes; the work is in the modules beside this one."""
    _add_enrolment(parser)
    _add_search(parser)
    _add_entries(parser)
    _add_grouping(parser)
    _add_upkeep(parser)
    made = _verb(parser, 'reembed', 'Make a gallery of another model from the source files.', 'people')
    former = made.add_argument(
        '--out-dir', action=options.OutputFolder, empty=True, required=True, help='new gallery'
    )
    made.add_argument('former_out', action=options.FormerPlace, option=former)
    _add_model(made)


def _verb(
    parser: options.Parser,
    name: str,
    summary: str,
    module: str,
    function: str = '',
    new: bool = False,
    reads: bool = False,
) -> options.Parser:
    """A verb that takes a gallery's folder first.

    Args:
        parser: Of the verb above.
        name: Of the verb.
        summary: One line.
        module: Beside this one.
        function: In it; by default of the verb's name.
        new: Whether the gallery is made, and so must be a new or empty folder.
        reads: Whether it only reads the gallery, and so can be told to write nothing there.
    """
    made = parser.add_verb(name, summary, f'{__name__}.{module}:{function or name}')
    if new:
        made.add_argument('gallery', action=_NewGallery, empty=True, help=f'new folder, or {_ADDRESS}')
    else:
        made.add_argument('gallery', help=f'folder of the gallery, or {_ADDRESS}')
    if reads:
        made.add_argument(
            '--read-only',
            action='store_true',
            default=None,
            help="write nothing into the gallery's folder (default: where nothing can be written)",
        )
    return made


def _add_model(parser: options.Parser, required: bool = True) -> None:
    parser.add_argument(
        '--model',
        required=required,
        help='name in the model zoo, weights, checkpoint, exported file or config',
    )
    parser.add_argument('--checkpoint', help='of the config')
    options.add_detector(parser)
    parser.add_argument(
        '--policy',
        choices=FACE_POLICIES,
        help='of several faces in an image (default: largest; all with --unnamed, and to reembed several)',
    )
    options.add_backend(parser)


def _add_filter(parser: options.Parser) -> None:
    parser.add_argument('--identity', help='this person only')
    parser.add_argument(
        '--where',
        action=Pairs,
        metavar='KEY=VALUE',
        help="entries with this metadata only; also 'KEY!=VALUE', <, <=, >, >= (in quotes), 'KEY in A,B', "
        "'KEY exists', 'KEY missing'; several must all hold",
    )


def _add_enrolment(parser: options.Parser) -> None:
    for name, summary in (
        ('build', 'Make a gallery of a folder of people or a CSV file.'),
        ('add', 'Add images to a gallery.'),
    ):
        made = _verb(parser, name, summary, 'people', new=name == 'build')
        _add_model(made, required=name == 'build')
        made.add_argument(
            'images',
            nargs=None if name == 'build' else '?',
            help='FOLDER/PERSON/IMAGE, or a CSV file with file, identity, metadata',
        )
        made.add_argument(
            '--unnamed',
            action='store_true',
            help='a folder of any photographs: every face of them, for cluster to group',
        )
        made.add_argument('--root', help="folder that the CSV file's paths start from (default: its own)")
        made.add_argument(
            '--min-quality',
            type=float,
            default=0.0,
            metavar='Q',
            help='leave out faces of a lower quality, 0..1, by size, sharpness and pose (default 0: none)',
        )
        made.add_argument(
            '--part', metavar='I/N', help='only part I of N (0 first), to build N galleries at once'
        )
        if name == 'add':
            made.add_argument(
                '--from-parquet',
                nargs='+',
                metavar='JOB',
                help='in place of --model: faces that mbv1 embed-job has embedded, folders of jobs or their '
                'faces-*.parquet; whose they are says the CSV file, else the folder of each image; a gallery '
                'that is not there is made',
            )
        if name == 'build':
            made.add_argument(
                '--index', help="FAISS's factory string, or Milvus' index type (default: by size)"
            )
            made.add_argument('--bytes-per-vector', type=int, help='memory for a vector in the index')


def _add_search(parser: options.Parser) -> None:
    made = _verb(parser, 'search', 'Say who is on images.', 'people', reads=True)
    _add_model(made)
    _add_filter(made)
    made.add_argument('images', nargs='+', help='image files, folders or globs')
    made.add_argument('--num', type=options.at_least(1), help='only so many of them, the first')
    made.add_argument('--top', type=options.at_least(1), default=5, help='matches of each face (default 5)')
    made.add_argument('--by', choices=['best', 'mean'], help='match people, by this score of their images')
    floor = made.add_mutually_exclusive_group()
    floor.add_argument(
        '--threshold', type=options.within(-1, 1), help='lowest score (default: the calibrated one, if any)'
    )
    floor.add_argument('--all', action='store_true', help='show matches below the threshold too')
    made.add_argument('--recall', type=float, help='search as widely as finds this share of the true nearest')
    made.add_argument('--json', action='store_true', help='print JSON')
    options.output_file(made, ('.png',), 'draw probes and matches there')


def _add_entries(parser: options.Parser) -> None:
    made = _verb(parser, 'remove', 'Remove entries.', 'entries')
    made.add_argument('--id', type=int, nargs='+', help='these entries, as list shows their numbers')
    made.add_argument('--identity', help='and all of this person')
    made.add_argument('--file', help='and all of this image; of --identity only, where both are given')
    made = _verb(parser, 'list', 'List entries.', 'entries', 'listing', reads=True)
    _add_filter(made)
    made.add_argument('--file', help='of this image only')
    _verb(parser, 'get', 'Show an entry.', 'entries', reads=True).add_argument('id', type=int, help=_NUMBER)
    made = _verb(parser, 'update', "Set an entry's metadata; keys that are not named stay.", 'entries')
    made.add_argument('id', type=int, help=_NUMBER)
    made.add_argument(
        '--set',
        action=Pairs,
        metavar='KEY=VALUE',
        required=True,
        help='numbers, true, false and null keep their type; several may follow',
    )
    made = _verb(parser, 'rename', 'Give a person another name.', 'entries')
    made.add_argument('identity', help='name that goes')
    made.add_argument('new', help='name in its place; nobody may have it')
    made = _verb(parser, 'merge-people', 'Make several names one person.', 'entries', 'merge_people')
    made.add_argument('identities', nargs='+', help='names that go')
    made.add_argument('--into', required=True, help='the name that stays')
    made = _verb(parser, 'correct', 'Say that entries do not show their person; it is remembered.', 'entries')
    made.add_argument('id', type=int, nargs='+', help=_NUMBER)
    made.add_argument(
        '--identity', help='whom they show (default: they are removed, and those of a group leave it)'
    )
    made = _verb(parser, 'split', "Say that entries of a person or group are another's.", 'entries')
    made.add_argument('id', type=int, nargs='+', help=_NUMBER)
    made.add_argument('--identity', help='whom they show (default: a group that nobody has named)')


def _add_grouping(parser: options.Parser) -> None:
    made = _verb(parser, 'cluster', 'Group the faces that nobody has named.', 'grouping')
    made.add_argument(
        '--threshold',
        type=options.within(-1, 1),
        help='mean cosine of two groups from which on they are one (default: the calibrated one; where there '
        'is none, estimated)',
    )
    made.add_argument(
        '--evaluate',
        action='store_true',
        help='change nothing: group all faces as if nobody had a name, and say how well that is the people',
    )
    made.add_argument('--json', action='store_true', help='print JSON')
    options.output_folder(made, 'new folder for a contact sheet a group', empty=True)


def _add_upkeep(parser: options.Parser) -> None:
    made = _verb(
        parser,
        'calibrate',
        'Compute and store the threshold for a wanted rate of false positives.',
        'upkeep',
        'calibrate_threshold',
    )
    made.add_argument(
        '--fpir', type=float, required=True, help='share of non-enrolled probes taken for somebody'
    )
    made.add_argument('--non-mated', help='.npz file of embeddings of people who are not in the gallery')
    for name, summary, reads in (
        ('stats', 'Print counts, index and sizes.', True),
        ('verify', 'Check a gallery.', True),
        ('compact', 'Give the room of removed entries back.', False),
    ):
        _verb(parser, name, summary, 'upkeep', reads=reads)
    made = _verb(parser, 'repair', 'Make manifest and index anew from the entries.', 'upkeep')
    made.add_argument(
        '--out-dir',
        action=options.OutputFolder,
        empty=True,
        help='new gallery for the entries that can still be read; the damaged one stays as it is',
    )
    made = _verb(parser, 'rebuild', 'Make the index anew.', 'upkeep')
    made.add_argument('--index', help="FAISS's factory string")
    made = _verb(
        parser, 'merge', "Add other galleries' entries; a gallery that is not there is made.", 'upkeep'
    )
    made.add_argument('sources', nargs='+', help='other galleries')
    made = _verb(
        parser,
        'copy',
        'Make an equal gallery at another place, or go on with a copy that was cut short.',
        'upkeep',
        reads=True,
    )
    made.add_argument('target', help=f'new folder, or {_ADDRESS}, or what an earlier copy left there')
    made.add_argument('--index', help="FAISS's factory string, or Milvus' index type (default: by size)")
    made.add_argument(
        '--without-corrections',
        action='store_true',
        help='leave behind what was said of faces (correct, split, merge-people), which Milvus does not keep',
    )
    made = _verb(parser, 'backup', 'Copy a gallery to a new folder, while others use it.', 'upkeep')
    made.add_argument(
        '--out-dir', action=options.OutputFolder, empty=True, required=True, help='new folder for the copy'
    )
    made = _verb(parser, 'export', 'Write all entries to a file.', 'upkeep', reads=True)
    options.output_file(made, ('.npz',), 'file to write', required=True, former=True)
    made = _verb(
        parser,
        'import',
        'Add the entries of an exported file; a gallery that is not there is made.',
        'upkeep',
        'import_file',
    )
    made.add_argument('file', help='.npz file of export')
