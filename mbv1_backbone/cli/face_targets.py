"""``mbv1 faces targets``: what teachers say of faces, for students to learn from.

mbv1 faces targets FACES --teacher MobileFaceNet.param 1.18 .05 --teacher NAME --out targets.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mbv1_backbone.face.distillation import Teacher

__all__ = ['add_arguments', 'run']


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.description = (
        'Run teachers once on every face, mirrored and blended ones too, and write what a student is to say: '
        'the embeddings of all teachers side by side, in their main directions.'
    )
    parser.add_argument('folder', help='of aligned faces, in folders at any depth')
    parser.add_argument(
        '--teacher',
        nargs='+',
        action='append',
        required=True,
        metavar=('MODEL', 'ZOOM'),
        help="an embedder (name in the zoo or file), or ncnn's .param; after it, how far it "
        'zooms into the face and, in shares of the side, how far it shifts it down (default 1 0)',
    )
    parser.add_argument(
        '--leave-out', metavar='FILE', help='people to leave out, names of folders at any depth, one a line'
    )
    parser.add_argument(
        '--blends', type=options.at_least(0), default=0, help='pictures of two faces (default 0)'
    )
    parser.add_argument('--dims', type=options.at_least(2), default=128, help='of a target (default 128)')
    parser.add_argument('--size', type=options.at_least(16), default=160, help='of a picture (default 160)')
    parser.add_argument('--seed', type=options.seed, default=0, help='of the blends')
    options.output_file(parser, ('.npz',), 'file to write', required=True)


def run(args: argparse.Namespace) -> None:
    """Run the teachers and write the file."""
    from tqdm import tqdm

    from mbv1_backbone.face.distillation import Recipes, run_teachers

    files = _files(Path(args.folder), args.leave_out)
    teachers = {name: _open(words) for name, words in _named(args.teacher).items()}
    recipes = Recipes.of_files(files, args.blends, seed=args.seed)
    with tqdm(total=len(recipes), unit='faces', dynamic_ncols=True) as bar:
        targets = run_teachers(teachers, recipes, args.folder, args.size, args.dims, progress=bar.update)
    targets.write(args.out)
    print(
        f'{args.out}: {len(recipes)} pictures of {len(files)} faces, {targets.embeddings.shape[1]} dimensions'
    )


def _named(teachers: list[list[str]]) -> dict[str, list[str]]:
    """The words of each teacher by its name: its model, and where that is asked twice its view, too."""
    models = [words[0] for words in teachers]
    named = {words[0] if models.count(words[0]) == 1 else ' '.join(words): words for words in teachers}
    if len(named) < len(teachers):
        twice = next(words for words in teachers if teachers.count(words) > 1)
        raise InputError(f'--teacher {" ".join(twice)} is given twice')
    return named


def _files(folder: Path, leave_out: str | None) -> list[str]:
    """Names of the faces in a folder, without those of some people."""
    from mbv1_backbone.common.folders import walk_images
    from mbv1_backbone.face.files import read_names

    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    found = walk_images(folder)
    found.log(str(folder))
    out = set(read_names(leave_out)) if leave_out else set()
    files = [path.relative_to(folder) for path in found]
    if leave_out and not any(out.intersection(file.parts[:-1]) for file in files):
        raise InputError(f'--leave-out {leave_out}: none of its {len(out)} people has a folder in {folder}')
    if not (kept := [file.as_posix() for file in files if not out.intersection(file.parts[:-1])]):
        raise InputError(f'{folder}: no images')
    return kept


def _open(words: list[str]) -> Teacher:
    """The teacher of a ``--teacher`` option: a model, zoom and shift."""
    from mbv1_backbone.face.teachers import NcnnTeacher

    source, numbers = words[0], words[1:]
    try:
        scale, down = (float(n) for n in [*numbers, *('1', '0')[len(numbers) :]])
    except ValueError as error:
        raise InputError(f'--teacher takes MODEL [ZOOM [DOWN]], got {" ".join(words)}') from error
    if not 0.2 <= scale <= 5 or not -1 <= down <= 1:
        raise InputError(f'--teacher {source}: ZOOM must be .2 to 5 and DOWN -1 to 1, got {scale:g} {down:g}')
    if source.endswith('.param'):
        return _of_step(NcnnTeacher(source, mean=0, std=1, scale=scale, shift=(0.0, down)))
    return _of_embedder(source, scale, down)


def _of_step(step: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Teacher:
    import numpy as np

    return lambda faces: np.stack([step(dict(img=face[..., ::-1]))['teacher'] for face in faces])


def _of_embedder(source: str, scale: float, down: float) -> Teacher:
    import cv2

    from mbv1_backbone.face.geometry import similarity
    from mbv1_backbone.inference.loading import load

    embedder = load(source, kind='embedder', finder=None)  # of crops
    side = embedder.input_size

    def ask(faces: np.ndarray) -> np.ndarray:
        matrix = similarity(faces.shape[1], side, scale, (0.0, down))
        views = [cv2.warpAffine(f, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE) for f in faces]
        return embedder.embed(views).vectors

    return ask
