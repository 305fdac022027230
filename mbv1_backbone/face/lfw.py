"""Labeled Faces in the Wild (http://vis-www.cs.umass.edu/lfw/): fetched, and cut as the networks want it.

Its photographs are 250 pixels wide with the face in the middle, in about the same place and size in all
(funneled). The networks here see the middle 160 of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.files import atomic_file, write_atomically
from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.files import scan_people

__all__ = ['SHARE', 'cut_lfw', 'fetch_lfw']

SHARE = 160 / 250  # of the photograph's side


def fetch_lfw(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Download LFW by scikit-learn, about 230 MB, with its checksums; what is there is not fetched again.

    Args:
        data_home: Where to; the default is scikit-learn's own folder.

    Returns:
        The folder of people; ``pairs.txt`` lies beside it.

    Raises:
        InputError: If it cannot be fetched.
    """
    from sklearn.datasets import fetch_lfw_people, get_data_home

    with user_errors('LFW'):
        # it fetches everything, and reads the few people who have so many images
        fetch_lfw_people(data_home=data_home, min_faces_per_person=200)
    return Path(get_data_home(data_home)) / 'lfw_home' / 'lfw_funneled'


def cut_lfw(source: str | os.PathLike[str], out: str | os.PathLike[str], size: int = 160) -> int:
    """Write the middle of every photograph to ``OUT/images/PERSON/IMAGE``, and ``pairs.txt`` beside.

    Args:
        source: Folder of people with whole photographs, as LFW's archives and torchvision's download have it.
        out: New or empty folder.
        size: Side of the result, in pixels.

    Returns:
        How many images there are.

    Raises:
        InputError: If the source has no images of people, or there is something in ``out``.
    """
    source, out = Path(source), Path(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(f'{out} is not an empty folder')
    files = scan_people(source)
    if not files:
        raise InputError(f'{source}: no images of people (FOLDER/PERSON/IMAGE)')
    for file in tqdm(files, unit='image', leave=False):
        middle = Image.fromarray(_middle(read_image(source / file), size))
        with atomic_file(out / 'images' / file) as cut:
            middle.save(cut, format='JPEG', quality=95)
    pairs = next((p for p in (source / 'pairs.txt', source.parent / 'pairs.txt') if p.is_file()), None)
    if pairs is not None:
        write_atomically(out / 'pairs.txt', pairs.read_bytes())
    return len(files)


def _middle(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of ``SHARE`` of the shorter side, resized."""
    height, width = image.shape[:2]
    side = round(min(height, width) * SHARE)
    top, left = (height - side) // 2, (width - side) // 2
    middle = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(middle if side == size else middle.resize((size, size), Image.Resampling.LANCZOS))
