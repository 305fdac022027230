"""What the verbs that look at images share: their arguments, their inputs, and a picture of each image."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mbv1_backbone.cli import options
from mbv1_backbone.common.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ['Inputs', 'add_images', 'add_outputs', 'inputs_of', 'look_at', 'print_left_out']

Found = TypeVar('Found')
Item = TypeVar('Item')


@dataclass(frozen=True)
class Inputs:
    """What a verb is given, checked.

    Attributes:
        checkpoint: Of a config, which comes before the images.
        paths: Of the images.
        pictures: Names of the pictures to draw, as many; none where none are drawn.
        what: ``images`` or ``photographs``, for messages.
    """

    checkpoint: str | None
    paths: list[Path]
    pictures: list[str]
    what: str


def add_images(
    parser: argparse.ArgumentParser, model: str, metavar: str, checkpoint: str = '', films: str = ''
) -> None:
    """The model and the images.

    Args:
        parser: Gets the arguments.
        model: Help on it.
        metavar: Of an image.
        checkpoint: What a config's may be, for the help.
        films: What is taken beside images, for the help.
    """
    parser.add_argument('model', metavar='MODEL', help=model)
    parser.add_argument(
        'images',
        nargs='*',
        metavar=f'[CHECKPOINT] {metavar}',
        help=f'image files, folders or globs{films}; of a config its checkpoint comes first{checkpoint}',
    )


def add_outputs(parser: argparse.ArgumentParser, pictures: str, results: str, required: bool = False) -> None:
    """``--out-dir`` and ``--no-pictures``.

    Args:
        parser: Gets the options.
        pictures: What is drawn, for the help.
        results: Name of the JSON file.
        required: Whether there must be a folder.
    """
    options.output_folder(
        parser, f'folder for {pictures} and {results}', files=(results,), metavar='FOLDER', required=required
    )
    parser.add_argument('--no-pictures', action='store_true', help=f'write {results} alone')


def inputs_of(args: argparse.Namespace, results: str, what: str = 'images') -> Inputs:
    """Find the images, and check that the outputs can be written.

    Args:
        args: Parsed arguments of ``add_images`` and ``add_outputs``.
        results: Name of the JSON file.
        what: The images are called so in messages.

    Raises:
        InputError: If something is missing or in the way.
    """
    from mbv1_backbone.cli.networks import is_config
    from mbv1_backbone.common.images import find_images
    from mbv1_backbone.common.outputs import check_output_folder
    from mbv1_backbone.common.pictures import picture_names
    from mbv1_backbone.runtime.coreml import check_coreml

    check_coreml(Path(args.model))
    follows = is_config(args.model)
    if len(args.images) < 1 + follows:
        raise InputError(f'{args.model}: give {"its checkpoint and " if follows else ""}{what} after it')
    if args.no_pictures and not args.out_dir:
        raise InputError(f'--no-pictures is about --out-dir, where {results} is written')
    paths = find_images(args.images[follows:])
    pictures = [] if args.no_pictures or not args.out_dir else picture_names(paths)
    if args.out_dir:
        check_output_folder(args.out_dir, pictures, name='--out-dir', read=paths)
    return Inputs(args.images[0] if follows else None, paths, pictures, what)


def look_at(
    inputs: Inputs,
    stream: Iterable[Found | InputError],
    out_dir: str | None,
    note: Callable[[int, Found], Item],
    draw: Callable[[Item], np.ndarray],
    progress: bool = True,
) -> list[str]:
    """Go through what a network says of the images, and draw, two pictures at a time, beside the network.

    Args:
        inputs: Of the verb.
        stream: What is found in each image, or why it could not be read.
        out_dir: Folder of the pictures.
        note: Called with an image's place among the paths and what is found; gives what ``draw`` needs.
        draw: Makes the picture, RGB uint8 (H, W, 3).
        progress: Show a bar.

    Returns:
        Why images could not be read, one line each.

    Raises:
        InputError: If none could be read.
    """
    from tqdm import tqdm

    from mbv1_backbone.common.pictures import save_png
    from mbv1_backbone.common.prefetch import prefetch

    unread: list[str] = []

    def noted() -> Iterable[tuple[str, Item]]:
        names = inputs.pictures or [''] * len(inputs.paths)
        for number, (name, found) in enumerate(zip(names, stream, strict=True)):
            if isinstance(found, InputError):
                unread.append(str(found))
            else:
                yield name, note(number, found)

    def save(item: tuple[str, Item]) -> None:
        if item[0]:
            save_png(draw(item[1]), Path(out_dir or '') / item[0])

    with tqdm(total=len(inputs.paths), unit='image', disable=not progress) as bar:
        for _ in prefetch(save, noted(), threads=2, max_pending=4):
            bar.update()
    if len(unread) == len(inputs.paths):
        raise InputError(f'none of {len(unread)} {inputs.what} could be read; the first: {unread[0]}')
    return unread


def print_left_out(unread: Iterable[str]) -> None:
    """A line an image that could not be read."""
    for reason in unread:
        print(f'left out: {reason}')
