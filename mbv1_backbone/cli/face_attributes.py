"""``mbv1 faces attributes``: faces of photographs, and what a network says of each.

mbv1 faces attributes photo.jpg --out-dir pictures
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.cli import options
from mbv1_backbone.cli.film_options import refuse_films
from mbv1_backbone.common.errors import InputError, one_line
from mbv1_backbone.common.files import shown

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.face.finder import FaceFinder, Place
    from mbv1_backbone.inference.face_attributes import AttributeEstimator, FaceAttributes

__all__ = ['add_arguments', 'run']

_DEFAULT = 'vladmandic/facenet_mobilenetv1_vggface2'
_SQUARE = 256  # pixels of the crops; estimators shrink them


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'Find the faces of photographs, and print a line for each: attributes, or age, gender and race, '
        'whichever the network has. They are estimates of a network from a picture, and no facts about a '
        'person.'
    )
    parser.add_argument('photos', nargs='*', metavar='PHOTO', help='image files, folders or globs')
    parser.add_argument(
        '--model',
        default=_DEFAULT,
        help=f'name in the model zoo, published weights, or a config (default {_DEFAULT}: age and gender)',
    )
    parser.add_argument('--checkpoint', help='of the config')
    options.add_detector(parser)
    parser.add_argument(
        '--score-thr',
        type=options.within(0, 1),
        default=0.5,
        help='leave out attributes that are less likely (default .5); the file has all',
    )
    parser.add_argument(
        '--labels',
        metavar='CSV',
        help='with file, age, gender (0 male) and race: print how many are right, of one face a file',
    )
    parser.add_argument('--root', metavar='FOLDER', help='of the files of --labels (default: where it lies)')
    options.output_file(parser, ('.json',), 'write what is said of all faces there')
    options.output_folder(parser, 'draw every photograph there, with its faces and what is said of each')
    options.add_batch_size(parser)


def run(args: argparse.Namespace) -> None:
    """Find, estimate, print, draw."""
    from mbv1_backbone.cli.image_verbs import Inputs, look_at, print_left_out
    from mbv1_backbone.common.files import write_json
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.common.pictures import picture_names
    from mbv1_backbone.face.attribute_drawing import draw_attributes
    from mbv1_backbone.inference.face_detectors import named_finder

    paths, labels = _paths(args)
    pictures = picture_names(paths) if args.out_dir else []
    if args.out_dir:
        check_output_folder(args.out_dir, pictures, name='--out-dir', read=paths)
    finder = named_finder(args.detector, 'all' if labels is None else 'largest')
    estimator = _estimator(args)
    if finder is not None:
        finder.open()
    results: list[dict[str, Any]] = []
    said: list[FaceAttributes | None] = []

    def note(number: int, found: _Found) -> _Found:
        results.append(_as_json(paths[number], found))
        said.append(found[1][0][1] if found[1] else None)
        if labels is None:
            _print(paths[number], found, args.score_thr, finder is not None)
        return found

    def draw(found: _Found) -> np.ndarray:
        boxes = [place.box for place, _ in found[1]]
        return draw_attributes(found[0], boxes, [one.parts(args.score_thr) for _, one in found[1]])

    inputs = Inputs(None, paths, pictures, 'photographs')
    stream = _stream(paths, finder, estimator, args.batch_size)
    unread = look_at(inputs, stream, args.out_dir, note, draw, progress=labels is not None)
    figures = _figures(labels, said, paths, unread) if labels is not None else {}
    if args.out:
        write_json(args.out, dict(figures=figures, images=results) if figures else results, indent=1)
    print_left_out(unread)


# A photograph, its faces, and why there are none.
_Found = tuple['np.ndarray', list[tuple['Place', 'FaceAttributes']], str]


def _paths(args: argparse.Namespace) -> tuple[list[Path], list[Any] | None]:
    """The photographs, and the labels of each where there are any."""
    from mbv1_backbone.common.images import find_images

    if not args.labels:
        if args.root:
            raise InputError('--root is of the files of --labels')
        if not args.photos:
            raise InputError('give photographs, or --labels')
        refuse_films(args.photos)
        return find_images(args.photos), None
    if args.photos:
        raise InputError(f'--labels names the photographs; {args.photos[0]} is one too many')
    from mbv1_backbone.face.utkface import find_crop, read_labels

    labels = read_labels(args.labels)
    root = Path(args.root) if args.root else Path(args.labels).parent
    found = {file: find_crop(root, file) for file in labels}
    if absent := [file for file, path in found.items() if path is None]:
        raise InputError(f'{root}: no {absent[0]}, nor {len(absent) - 1} more of {args.labels}')
    return [path for path in found.values() if path is not None], list(labels.values())


def _estimator(args: argparse.Namespace) -> AttributeEstimator:
    from mbv1_backbone.cli.networks import source_and_checkpoint
    from mbv1_backbone.inference.face_attributes import AttributeEstimator

    if args.model == _DEFAULT and args.checkpoint is None:
        return AttributeEstimator.load(args.model)
    return AttributeEstimator.load(*source_and_checkpoint(args.model, args.checkpoint))


def _stream(
    paths: list[Path], finder: FaceFinder | None, estimator: AttributeEstimator, batch_size: int
) -> Iterator[_Found | InputError]:
    """Of each photograph, itself and its faces; of one without any an empty list, and the reason."""
    from mbv1_backbone.common.images import read_image
    from mbv1_backbone.common.prefetch import DECODERS, prefetch
    from mbv1_backbone.face.finder import Place
    from mbv1_backbone.face.geometry import fit_square

    def read(path: Path) -> np.ndarray | InputError:
        try:
            return read_image(path)
        except InputError as error:
            return error

    for image in prefetch(read, paths, DECODERS, 4):
        if isinstance(image, InputError):
            yield image
            continue
        reason = ''
        try:
            faces = [(fit_square(image, _SQUARE), Place())] if finder is None else finder.find(image, _SQUARE)
        except InputError as error:
            faces, reason = [], one_line(error)
        said = estimator.estimate((face for face, _ in faces), batch_size)
        yield image, [(place, one) for (_, place), one in zip(faces, said, strict=True)], reason


def _as_json(path: Path, found: _Found) -> dict[str, Any]:
    faces = [
        dict(
            box=None if place.box is None else [round(value, 1) for value in place.box],
            score=place.score,
            **one.as_json(),
        )
        for place, one in found[1]
    ]
    return dict(file=str(path), faces=faces) | (dict(reason=found[2]) if found[2] else {})


def _print(path: Path, found: _Found, least: float, looked: bool) -> None:
    if not found[1]:
        print(f'{shown(path)}: {found[2]}')
    for number, (place, one) in enumerate(found[1], 1):
        where = '' if place.box is None else f' at {" ".join(f"{value:.0f}" for value in place.box)}'
        if looked and place.score is None:
            where = ' (no face is found, and the whole picture taken for one)'
        said = ', '.join(one.parts(least)) or 'nothing reaches --score-thr'
        print(f'{shown(path)}: face {number}{where}: {said}')


def _figures(
    labels: list[Any], said: list[FaceAttributes | None], paths: list[Path], unread: list[str]
) -> dict[str, float]:
    """How many are right, printed."""
    import numpy as np

    from mbv1_backbone.face.age_gender_race import age_gender_race_figures

    if unread:
        raise InputError(f'--labels: {unread[0]}')
    pairs = [(one, label) for one, label in zip(said, labels, strict=True) if one is not None]
    if not pairs or pairs[0][0].years is None:
        raise InputError(
            '--labels: ' + ('the network has no age' if pairs else f'no face in {len(paths)} files')
        )
    values = dict(
        years=np.array([one.years for one, _ in pairs]),
        is_male=np.array([one.gender == 'male' for one, _ in pairs]),
    )
    if pairs[0][0].races:
        values['races'] = np.array([[*one.races.values()] for one, _ in pairs])
    figures = age_gender_race_figures(values, np.array([label for _, label in pairs]))
    print(
        f'{len(pairs)} faces'
        + (f', {len(said) - len(pairs)} without a face' if len(pairs) < len(said) else '')
    )
    for name, value in figures.items():
        print(
            f'{name.replace("_", " ")}: {value:.2f} years'
            if name == 'age_error'
            else f'{name.replace("_", " ")}: {value:.4f}'
        )
    return figures
