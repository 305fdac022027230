"""Face attributes (paper, 4.5 and Table 12): a multi-label network, distilled from a teacher's outputs.

The student minimises the cross-entropy to the teacher's probabilities, averaged over the attributes; images
without labels will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import decode
from mbv1_backbone.compat.datasets import image_folder
from mbv1_backbone.face.evaluation.metrics import mean_average_precision
from mbv1_backbone.face.evaluation.protocols import person_of
from mbv1_backbone.face.files import locate, read_archive

__all__ = [
    'SPLITS',
    'AttributeDataset',
    'AttributeMetric',
    'CelebA',
    'FaceAttributeModel',
    'read_attributes',
    'soft_attributes',
    'soft_cross_entropy',
]

SPLITS = ('train', 'val', 'test')


@MODELS.register_module()
class FaceAttributeModel(BaseModel):
    """Which attributes a face has: backbone, global average pooling, a logit for each.

    Args:
        backbone: With ``taps``; the last is read.
        num_attributes: A, at least 1.
        data_preprocessor: ``FacePreprocessor``.
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        num_attributes: int = 40,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({'type': 'FacePreprocessor', **(data_preprocessor or {})}, init_cfg)
        if num_attributes < 1:
            raise ValueError(f'num_attributes must be at least 1, got {num_attributes}')
        self.backbone = MODELS.build(backbone)
        self.fc = nn.Linear(self.backbone.taps[-1].channels, num_attributes)

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Judge prepared images.

        Args:
            inputs: Float (N, 3, S, S), from the data preprocessor.
            data_samples: N samples; for ``loss`` with ``attributes`` (A,), probabilities, NaN where unknown.
            mode: ``tensor`` gives logits (N, A), ``loss`` a dict, ``predict`` the samples with ``scores``
                (A,) set, 0..1.

        Raises:
            ValueError: If the mode is none of these, or the samples have another number of attributes.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')
        logits = self.fc(self.backbone(inputs)[-1].mean((2, 3))).float()
        if mode == 'tensor':
            return logits
        samples = data_samples or [BaseDataElement() for _ in inputs]
        if mode == 'loss':
            wanted = torch.stack([torch.as_tensor(sample.attributes) for sample in samples]).to(logits)
            return dict(loss_attributes=soft_cross_entropy(logits, wanted))
        for sample, scores in zip(samples, logits.sigmoid(), strict=True):
            sample.set_field(scores, 'scores')
        return samples


def soft_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy to probabilities, averaged over what is known.

    Args:
        logits: (N, A).
        wanted: (N, A), 0..1, or NaN where unknown.

    Raises:
        ValueError: If the shapes differ.
    """
    if logits.shape != wanted.shape:
        raise ValueError(f'num_attributes={logits.shape[1]} must be that of the data set, {wanted.shape[1]}')
    known = ~wanted.isnan()
    each = F.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(), reduction='none')
    return (each * known).sum() / known.sum().clamp(min=1)


@DATASETS.register_module()
class AttributeDataset(BaseDataset):
    """Images with attributes: an ``.npz`` file with ``files`` (N), ``names`` (A) and ``attributes`` (N, A).

    Args:
        data_root: What other paths are relative to.
        data_prefix: ``img``: the folder of the images.
        ann_file: The ``.npz`` file. Its attributes are labels or a teacher's probabilities, 0..1, or NaN.
        teacher_file: The same of a teacher, for distillation: in place of the labels.
        pipeline: Steps.
        kwargs: mmengine's.

    Raises:
        InputError: If a file is missing or wrong.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        ann_file: str = '',
        teacher_file: str = '',
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.teacher_file = teacher_file
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix or dict(img='images'),
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict an image: ``img_path``, ``file`` and ``attributes``, float32 (A,)."""
        files, names, values = self.read_annotations()
        if self.teacher_file:
            files, names, values = read_attributes(Path(self.data_root, self.teacher_file))
        self._metainfo['attributes'] = names
        folder = Path(image_folder(self.data_prefix))
        return [
            dict(img_path=str(self.path_of(folder, file)), file=file, attributes=row)
            for file, row in zip(files, values, strict=True)
        ]

    def read_annotations(self) -> tuple[list[str], list[str], np.ndarray]:
        """Files, names of attributes, and float32 (N, A)."""
        return read_attributes(self.ann_file)

    def path_of(self, folder: Path, file: str) -> Path:
        """Where an image lies."""
        return locate(folder, file, person_of(file))


@DATASETS.register_module()
class CelebA(AttributeDataset):
    """CelebA's own files (http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), aligned images.

    Args:
        split: ``train``, ``val`` or ``test``.
        partition_file: ``list_eval_partition.txt``.
        ann_file: ``list_attr_celeba.txt``.
        kwargs: Of ``AttributeDataset``.

    Raises:
        InputError: If a file is missing or wrong.
    """

    def __init__(
        self,
        split: str = 'train',
        partition_file: str = 'list_eval_partition.txt',
        ann_file: str = 'list_attr_celeba.txt',
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {", ".join(SPLITS)}, got {split!r}')
        self.split = split
        self.partition_file = partition_file
        super().__init__(ann_file=ann_file, **{'data_prefix': dict(img='img_align_celeba'), **kwargs})

    @override
    def read_annotations(self) -> tuple[list[str], list[str], np.ndarray]:
        lines = _lines(self.ann_file)
        partition = dict(line.split() for line in _lines(Path(self.data_root, self.partition_file)))
        try:
            count, names = int(lines[0]), lines[1].split()
            rows = [line.split() for line in lines[2:]]
            values: np.ndarray = np.array([row[1:] for row in rows], np.float32).reshape(count, len(names))
        except (ValueError, IndexError) as error:
            raise InputError(f"{self.ann_file}: not in CelebA's format: {error}") from None
        if missing := [row[0] for row in rows if row[0] not in partition]:
            raise InputError(f'{self.partition_file}: does not name {missing[0]}')
        mine = [partition[row[0]] == str(SPLITS.index(self.split)) for row in rows]
        files = [row[0] for row, chosen in zip(rows, mine, strict=True) if chosen]
        return files, names, (values[mine] > 0).astype(np.float32)

    @override
    def path_of(self, folder: Path, file: str) -> Path:
        return folder / file


@METRICS.register_module()
class AttributeMetric(BaseMetric):
    """Mean average precision over the attributes (paper, Table 12), and each attribute's own in the log file.

    An image has an attribute where its value is above one half.
    """

    default_prefix = 'attributes'

    @override
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            scores, values = (
                torch.as_tensor(sample[name]).cpu().numpy() for name in ('scores', 'attributes')
            )
            self.results.append((scores, values))

    @override
    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        scores, values = (np.array(column) for column in zip(*results, strict=True))
        return dict(mAP=mean_average_precision(scores, values > 0.5, ~np.isnan(values)))


def read_attributes(path: str | Path) -> tuple[list[str], list[str], np.ndarray]:
    """``files`` (N), ``names`` (A) and ``attributes``, float32 (N, A), of an ``.npz`` file.

    Raises:
        InputError: If it cannot be read, or a value is neither in 0..1 nor NaN.
    """
    content = read_archive(path, ('files', 'names', 'attributes'))
    files, names = content['files'].astype(str).tolist(), content['names'].astype(str).tolist()
    values: np.ndarray = content['attributes'].astype(np.float32)
    if values.shape != (len(files), len(names)):
        raise InputError(f'{path}: attributes must be ({len(files)}, {len(names)}), got {values.shape}')
    if ((values < 0) | (values > 1)).any():
        raise InputError(f'{path}: attributes must lie in 0..1, or be NaN')
    return files, names, values


def soft_attributes(embeddings: np.ndarray, basis: np.ndarray, count: int = 40) -> np.ndarray:
    """A stand-in for a teacher of attributes: on which side of its embeddings' main directions a face lies.

    Args:
        embeddings: (N, D), judged.
        basis: (M, D), whose mean and principal directions are the questions.
        count: A, at most D.

    Returns:
        Probabilities float32 (N, A): the logistic function of twice the standard score.

    Raises:
        ValueError: If there are fewer directions than wanted.
    """
    if not 1 <= count <= basis.shape[1]:
        raise ValueError(f'count must lie in 1..{basis.shape[1]}, got {count}')
    centre = basis.mean(0)
    _, spread, directions = np.linalg.svd(basis - centre, full_matrices=False)
    deviations = spread[:count] / np.sqrt(len(basis))
    scores = (embeddings - centre) @ directions[:count].T / deviations
    return (1 / (1 + np.exp(-2 * scores))).astype(np.float32)


def _lines(path: str | Path) -> list[str]:
    try:
        return [line for line in decode(Path(path).read_bytes()).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read: {error}') from error
