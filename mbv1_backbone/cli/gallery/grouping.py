"""The gallery's verb that groups faces: cluster."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from mbv1_backbone.cli import options
from mbv1_backbone.cli.gallery.making import open_folder
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import shown
from mbv1_backbone.common.names import number_of
from mbv1_backbone.face.evaluation.clustering import b_cubed
from mbv1_backbone.retrieval import Gallery, Group, Grouping, cluster as cluster_unnamed, cluster_all

__all__ = ['cluster']


def cluster(args: Namespace) -> None:
    """Group the faces that nobody has named, list the groups and draw them."""
    with open_folder(args.gallery, 'cluster') as gallery:
        if args.evaluate:
            _evaluate(gallery, args)
            return
        found = cluster_unnamed(gallery, args.threshold)
        if not found.groups and not found.alone:
            raise InputError(
                f'{args.gallery}: every face has a name; mbv1 gallery add --unnamed enrols others'
            )
        if args.out_dir:
            from mbv1_backbone.face_gallery.groups import draw_groups

            draw_groups(gallery, found, args.out_dir)
    if args.json:
        print(options.json_line(asdict(found), indent=2))
    else:
        print('\n'.join([*map(_line, found.groups), _summary(found)]))


def _evaluate(gallery: Gallery, args: Namespace) -> None:
    if args.out_dir:
        raise InputError('--evaluate names no groups, so there is nothing for --out-dir')
    threshold, entries, labels = cluster_all(gallery, args.threshold)
    if not entries:
        raise InputError(f'{args.gallery}: no entries')
    found = b_cubed([entry.identity for entry in entries], labels.tolist())
    if args.json:
        print(options.json_line(dict(asdict(found), f=found.f, threshold=threshold), indent=2))
        return
    print(
        f'{len(entries)} faces of {found.people} people in {found.groups} groups, threshold {threshold:.3f}: '
        f'B-cubed precision {found.precision:.4f}, recall {found.recall:.4f}, F {found.f:.4f}'
    )


def _line(group: Group) -> str:
    like = f'  like {shown(group.like[0])} {group.like[1]:.3f}' if group.like else ''
    faces = number_of(len(group.ids), 'face')
    return (
        f'{group.identity}  {faces} in {number_of(group.photographs, "photograph")}  '
        f'cohesion {group.cohesion:.3f}{like}'
    )


def _summary(found: Grouping) -> str:
    faces = sum(len(group.ids) for group in found.groups)
    return (
        f'{number_of(faces, "face")} in {number_of(len(found.groups), "group")}, {len(found.alone)} alone; '
        f'{found.origin} threshold {found.threshold:.3f}; '
        f'{number_of(found.changed, "entry has", "entries have")} got another name'
    )
