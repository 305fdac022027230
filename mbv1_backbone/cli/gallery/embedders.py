"""What embeds for a gallery's verbs: as the gallery was filled, where nothing else is asked for."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from mbv1_backbone.cli.networks import open_network
from mbv1_backbone.common.content import content_name, same_content, short_name, split_name
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.face_detectors import file_identity, named_finder
from mbv1_backbone.retrieval import GalleryLike
from mbv1_backbone.runtime.sessions import SUFFIXES
from mbv1_backbone.weights.zoo import zoo_names

__all__ = ['check_embedder', 'made_with', 'note_made_with', 'open_embedder']

_FILE, _DETECTOR = 'detector file', 'detector'  # of what a gallery was made with: place and content


def open_embedder(args: Namespace, gallery: GalleryLike | None = None) -> FaceEmbedder:
    """The network of ``--model`` with the finder of ``--detector``.

    Args:
        args: Parsed arguments; ``detector_option`` where the verb's is called otherwise.
        gallery: Where there is one, ``--detector auto`` means the detector that it was made with.

    Raises:
        InputError: If something is missing or wrong, or that detector is not to be had.
    """
    detector = args.detector
    if gallery is not None and detector == 'auto':
        detector = _own_detector(gallery, getattr(args, 'detector_option', '--detector'))
    policy = args.policy or ('all' if getattr(args, 'unnamed', False) else 'largest')
    finder = named_finder(detector, policy)
    if finder is not None:
        finder.open()
    embedder: FaceEmbedder = open_network(args, args.model, args.checkpoint, 'embedder', finder)
    print(embedder.backend, file=sys.stderr)
    return embedder


def _own_detector(gallery: GalleryLike, option: str) -> str:
    """What the option would name for a gallery that is there."""
    face = gallery.model_identity['preprocessing'].get('face')
    if face == 'middle square':
        print(f'{gallery.place}: made with {option} none: images are taken as they are', file=sys.stderr)
        return 'none'
    if not isinstance(face, str) or face.startswith('auto: '):
        return 'auto'
    if face in zoo_names():
        return face
    name, sha256 = split_name(face)
    if sha256 is None and name != 'YuNet' and Path(name).suffix not in SUFFIXES:
        return 'auto'  # a detector of Python's; what differs is said later
    return _own_file(gallery, face, option)


def _own_file(gallery: GalleryLike, face: str, option: str) -> str:
    """The file of a gallery's detector, where it is as it was.

    Raises:
        InputError: If it is not.
    """
    names = gallery.made_with
    known, noted = names.get(_FILE), names.get(_DETECTOR)
    if split_name(face)[1] is None and noted is not None:
        face = noted
    missing = ''
    if isinstance(known, str):
        if not Path(known).is_file():
            missing = f', and {shown(known)} is not there any more'
        elif split_name(file_identity(known))[1] == split_name(face)[1]:
            print(f'{gallery.place}: faces are found by {shown(known)}, as before', file=sys.stderr)
            return known
        else:
            missing = f', and {shown(known)} is another file now'
        face = content_name(Path(known).name, sha256) if (sha256 := split_name(face)[1]) else face
    raise InputError(
        f'{gallery.place}: made with the face detector {shown(short_name(face))}{missing}: '
        f'give that file by {option} FILE'
    )


def made_with(args: Namespace, embedder: FaceEmbedder) -> dict[str, Any]:
    """What people call an embedder and its parts, as a gallery keeps it."""
    names = [Path(one).name if Path(one).is_file() else one for one in (args.model, args.checkpoint) if one]
    finder = embedder.finder
    file = getattr(finder and finder.detector, 'file', None)
    return {
        'model': ' '.join(names),
        'alignment': 'none' if finder is None else finder.alignment,
        _DETECTOR: None if finder is None or file is None else finder.identity,
        _FILE: None if file is None else str(Path(file).resolve()),
    }


def check_embedder(gallery: GalleryLike, embedder: FaceEmbedder) -> None:
    """Check that a gallery is of an embedder's model and detector.

    Raises:
        InputError: If it is not; the message says which is which.
    """
    gallery.check_model(embedder.fingerprint, embedder.preprocessing)
    noted = gallery.made_with.get(_DETECTOR)
    if noted and embedder.finder is not None and not same_content(noted, embedder.finder.identity):
        raise InputError(
            f'{gallery.place}: made with the face detector {short_name(noted)}, this is '
            f'{short_name(embedder.finder.identity)}'
        )


def note_made_with(gallery: GalleryLike, args: Namespace, embedder: FaceEmbedder) -> None:
    """Let a gallery know what it is made with now, where it does not, or a file has another place.

    Args:
        gallery: It is written to.
        args: Of the verb.
        embedder: Of the model and detector that the arguments name.
    """
    known, found = gallery.made_with, made_with(args, embedder)
    if not known or (found[_FILE] is not None and not Path(str(known.get(_FILE))).is_file()):
        gallery.set_made_with({**found, **known, _FILE: found[_FILE]})
