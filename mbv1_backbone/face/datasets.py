"""Face data sets: a folder of people, a list of files, and what belongs to each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.compat.datasets import image_folder
from mbv1_backbone.face.files import locate, read_embeddings, read_identities, read_names, scan_people

__all__ = ['FaceDataset']


@DATASETS.register_module()
class FaceDataset(BaseDataset):
    """Images of people: ``FOLDER/PERSON/IMAGE``, or a CSV file with the columns ``file`` and ``identity``.

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the images.
        ann_file: CSV with ``file`` (relative to the folder; of LFW the bare name will do) and ``identity``;
            without it, every folder in the folder of the images is a person.
        identities_file: Text with a name a line: only these people. All of them must be there.
        teacher_file: ``.npz`` with ``files`` and ``embeddings``, from ``mbv1 faces embed`` or another
            network; every image must have its own.
        partners: Give each image the path of another, drawn anew every time, for ``BlendFaces``.
        min_images: Leave out people with fewer images.
        pipeline: Steps.
        kwargs: mmengine's.

    Attributes:
        identities: Names of the people, by label.
        labels: int64 (N,), of each image.

    Raises:
        InputError: If something is missing; the message names it.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: Mapping[str, str] | None = None,
        ann_file: str = '',
        identities_file: str = '',
        teacher_file: str = '',
        partners: bool = False,
        min_images: int = 1,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.identities_file = identities_file
        self.teacher_file = teacher_file
        self.partners = partners
        self.min_images = min_images
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=dict(data_prefix or dict(img='images')),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict an image: ``img_path``, ``file`` (relative), ``identity``, ``label`` and ``teacher``."""
        folder = Path(image_folder(self.data_prefix))
        files = read_identities(self.ann_file) if self.ann_file else scan_people(folder)
        if self.identities_file:
            path = Path(self.data_root, self.identities_file)
            wanted = read_names(path)
            if missing := sorted(set(wanted) - set(files.values())):
                raise InputError(
                    f'{path}: no image of {missing[0]} in {folder}, nor of {len(missing) - 1} more'
                )
            keep = set(wanted)
            files = {file: identity for file, identity in files.items() if identity in keep}
        names, counts = np.unique(list(files.values()), return_counts=True)
        self.identities = tuple(names[counts >= self.min_images].tolist())
        labels = {name: label for label, name in enumerate(self.identities)}
        teacher = self._read_teacher()
        if not labels:
            raise InputError(f'{folder}: no images of people (FOLDER/PERSON/IMAGE)')
        entries = []
        for file, identity in files.items():
            if identity in labels:
                entry = dict(
                    img_path=str(locate(folder, file, identity)),
                    file=file,
                    identity=identity,
                    label=labels[identity],
                )
                if teacher is not None:
                    entry['teacher'] = _of_file(teacher, file, self.teacher_file)
                entries.append(entry)
        self.labels = np.array([entry['label'] for entry in entries])
        self._paths = [entry['img_path'] for entry in entries]
        return entries

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """An image's entry; with ``partners``, another image's path too."""
        info = super().get_data_info(idx)
        if self.partners:
            info['partner_path'] = self._paths[np.random.randint(len(self._paths))]
        return info

    def _read_teacher(self) -> dict[str, np.ndarray] | None:
        if not self.teacher_file:
            return None
        files, embeddings = read_embeddings(Path(self.data_root, self.teacher_file))
        return dict(zip(files, embeddings, strict=True))


def _of_file(table: Mapping[str, np.ndarray], file: str, source: str) -> np.ndarray:
    found = table.get(file, table.get(file.rpartition('/')[2]))
    if found is None:
        raise InputError(f'{source}: no embedding of {file}')
    return found
