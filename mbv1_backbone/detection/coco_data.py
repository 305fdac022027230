"""mmdet's COCO data set and metric on checked annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmengine.registry import DATASETS, METRICS
from typing_extensions import override

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_json
from mbv1_backbone.compat.datasets import image_folder
from mbv1_backbone.detection.formats.classes import check_classes
from mbv1_backbone.detection.formats.coco import CocoAnnotations, read_coco
from mbv1_backbone.detection.formats.masks import check_masks
from mbv1_backbone.detection.formats.report import Report
from mbv1_backbone.detection.formats.values import Id

__all__ = ['CheckedCocoDataset', 'CheckedCocoMetric']


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset`` with labels numbered by ``metainfo.classes`` and a file that is checked.

    mmdet numbers labels in the order of the file's categories, and names them in the order of the config's.
    Here categories are found by name; see ``read_coco`` for what is filled in, left out and refused.

    Arguments are those of mmdet's data set.

    Attributes:
        report: What was left out or filled in.
        annotations: Of a data set to evaluate on: as the metric must read them.

    Raises:
        InputError: If the file, its pictures and the classes do not fit together, no image is left, or the
            pipeline loads masks and a box has none.
    """

    report: Report
    annotations: CocoAnnotations | None = None

    @override
    def load_data_list(self) -> list[dict[str, Any]]:
        found = read_coco(
            self.ann_file,
            image_folder(self.data_prefix),
            self.metainfo['classes'],
            training=not self.test_mode,
        )
        if any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms):
            check_masks(found)
        self.report = found.report
        if self.test_mode:
            self.annotations = found
        self.cat_ids = list(found.category_ids)
        self.cat2label = {category_id: label for label, category_id in enumerate(self.cat_ids)}
        self.cat_img_map: dict[Id, list[Id]] = {category_id: [] for category_id in self.cat_ids}
        by_image: dict[Id, list[dict[str, Any]]] = {image['id']: [] for image in found.images}
        for annotation in found.annotations:
            by_image[annotation['image_id']].append(annotation)
            self.cat_img_map[annotation['category_id']].append(annotation['image_id'])
        return [
            self.parse_data_info(
                dict(raw_img_info={**image, 'img_id': image['id']}, raw_ann_info=by_image[image['id']])
            )
            for image in found.images
        ]

    @override
    def filter_data(self) -> list[dict[str, Any]]:
        """Mmdet's own filter, counted.

        Raises:
            InputError: If it leaves no image.
        """
        kept = super().filter_data()
        ids = {info['img_id'] for info in kept}
        least = (self.filter_cfg or {}).get('min_size', 0)
        for info in self.data_list:
            if info['img_id'] not in ids:
                small = min(info['width'], info['height']) < least
                self.report.add('small' if small else 'no_boxes', Path(info['img_path']).name)
        self.report.images = len(kept)
        if not kept:
            raise InputError(f'{self.ann_file}: filter_cfg {self.filter_cfg} leaves none of its images')
        return kept


@METRICS.register_module()
class CheckedCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric`` on the annotations that the data set checked.

    Args:
        ann_file: Annotation file; its images must be those of the data set.
        kwargs: As mmdet's metric has them.
    """

    def __init__(self, ann_file: str | None = None, **kwargs: Any) -> None:
        super().__init__(ann_file=None, **kwargs)
        self.ann_file = ann_file
        self._ids: tuple[Id, ...] = ()  # category ids by label

    def use(self, annotations: CocoAnnotations) -> None:
        """Evaluate on a data set's annotations.

        Raises:
            InputError: If ``ann_file`` is another file, with other images, or there is nothing to evaluate.
        """
        if self.ann_file and Path(self.ann_file).resolve() != Path(annotations.path).resolve():
            other = read_coco(self.ann_file, annotations.folder, annotations.classes)
            if {i['id'] for i in other.images} != {i['id'] for i in annotations.images}:
                raise InputError(
                    f'evaluator: ann_file {self.ann_file} has other images than the data set '
                    f'has in {annotations.path}'
                )
            annotations = other
        self._use(annotations)

    @override
    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Mmdet's own, by labels; files of results get the ids of the annotation file.

        COCO's evaluation sorts ids, and mmdet's table by class counts on their being sorted.
        """
        metrics = super().compute_metrics(results)
        for kind in ('bbox', 'segm') if self.outfile_prefix and self._ids else ():
            path = Path(f'{self.outfile_prefix}.{kind}.json')
            if path.is_file():
                found = json.loads(path.read_bytes())
                for result in found:
                    result['category_id'] = self._ids[result['category_id'] - 1]
                write_json(path, found)
        return metrics

    @override
    def process(self, data_batch: dict[str, Any], data_samples: Any) -> None:
        if self._coco_api is None and self.ann_file:  # in a program of someone else's, who did not call use
            self._use(read_coco(self.ann_file, None, check_classes(self.dataset_meta['classes'])))
        super().process(data_batch, data_samples)

    def _use(self, annotations: CocoAnnotations) -> None:
        report = annotations.report
        if not report.boxes and not self.format_only:
            raise InputError(
                f'{annotations.path}: no box is left to evaluate on, of {report.stated}: {report.reasons()}'
            )
        if 'segm' in self.metrics:
            check_masks(annotations)
        self._coco_api = annotations.api(COCO, by_label=True)
        self._ids = annotations.category_ids
        self.cat_ids = list(range(1, len(self._ids) + 1))
        self.img_ids = [image['id'] for image in annotations.images]
