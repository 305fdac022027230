"""Steps of a face pipeline: each changes ``results``, whose ``img`` is (H, W, 3) uint8 in BGR."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement

from mbv1_backbone.common.images import read_image
from mbv1_backbone.face.geometry import fit_square, similarity

__all__ = ['BlendFaces', 'FlipFace', 'LightFace', 'LoadFace', 'MoveFace', 'PackFace']

_PACKED = ('label', 'teacher', 'attributes', 'age', 'gender', 'race')


@TRANSFORMS.register_module()
class LoadFace:
    """Read ``results['img_path']`` as a square of ``size`` pixels, the middle of the image.

    Args:
        size: Side, in pixels.
        gray: Make colours gray.

    Raises:
        InputError: If the file cannot be read, with its path.
    """

    def __init__(self, size: int = 160, gray: bool = False) -> None:
        self.size = size
        self.gray = gray

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, uint8 (size, size, 3) in B, G, R."""
        results['img'] = self.load(results['img_path'])
        return results

    def load(self, path: str) -> np.ndarray:
        """An image file as uint8 (size, size, 3) in B, G, R."""
        image = fit_square(read_image(path), self.size)
        if self.gray:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
        return np.ascontiguousarray(image[..., ::-1])


@TRANSFORMS.register_module()
class BlendFaces(LoadFace):
    """Blend a face with another of the data set: a face that nobody has, for a teacher to judge.

    A teacher that is run on what the student sees teaches its function, not its answers on some
    photographs (arXiv:2106.05237). Needs a data set with ``partners``, and a teacher after it in the
    pipeline, which is run on blended faces, and on others where no ``teacher_file`` has them.

    Args:
        prob: Share of faces that are blended.
        share: Least and greatest share of the other face.
        size: Of ``LoadFace``.
        gray: Of ``LoadFace``.
    """

    def __init__(
        self, prob: float = 0.5, share: tuple[float, float] = (0.2, 0.8), size: int = 160, gray: bool = False
    ) -> None:
        super().__init__(size, gray)
        self.prob = prob
        self.share = share

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Blend ``img`` with the image at ``partner_path``, or leave it as it is."""
        if np.random.random() < self.prob:
            share = np.random.uniform(*self.share)
            other = self.load(results['partner_path'])
            results['img'] = cv2.addWeighted(results['img'], 1 - share, other, share, 0)
            results.pop('teacher', None)  # it was of the face alone
        return results


@TRANSFORMS.register_module()
class FlipFace:
    """Mirror left and right.

    Args:
        prob: Share of faces that are mirrored.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mirror ``img``, or leave it as it is."""
        if np.random.random() < self.prob:
            results['img'] = np.ascontiguousarray(results['img'][:, ::-1])
        return results


@TRANSFORMS.register_module()
class MoveFace:
    """Zoom, turn and shift at random, and resize, in one resampling; borders repeat their last pixel.

    Args:
        size: Side of the result, in pixels.
        scale: Least and greatest zoom.
        shift: Greatest shift, in shares of the side.
        degrees: Greatest turn.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.9, 1.2), shift: float = 0.05, degrees: float = 8.0
    ) -> None:
        self.size = size
        self.scale = scale
        self.shift = shift
        self.degrees = degrees

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Move ``img``; it becomes (size, size, 3)."""
        scale = np.exp(np.random.uniform(*np.log(self.scale)))
        right, down = np.random.uniform(-self.shift, self.shift, 2)
        degrees = np.random.uniform(-self.degrees, self.degrees)
        matrix = similarity(results['img'].shape[0], self.size, scale, (right, down), degrees)
        results['img'] = cv2.warpAffine(
            results['img'], matrix, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE
        )
        return results


@TRANSFORMS.register_module()
class LightFace:
    """Change brightness, contrast and gamma, and blur, as other cameras would.

    Args:
        contrast: Greatest relative change of contrast; of gamma too.
        brightness: Greatest change of brightness, of 255.
        blur: Share of faces that are made softer, by a resize to as little as half the side and back.
    """

    def __init__(self, contrast: float = 0.3, brightness: float = 0.1, blur: float = 0.2) -> None:
        self.contrast = contrast
        self.brightness = brightness
        self.blur = blur

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img``, uint8 (S, S, 3)."""
        gain, gamma = np.exp(np.random.uniform(-self.contrast, self.contrast, 2))
        offset = np.random.uniform(-self.brightness, self.brightness)
        values = np.linspace(0, 1, 256) ** gamma
        table = np.clip(((values - 0.5) * gain + 0.5 + offset) * 255, 0, 255).astype(np.uint8)
        image = cv2.LUT(results['img'], table)
        if np.random.random() < self.blur:
            side = image.shape[0]
            small = int(side * np.random.uniform(0.5, 1))
            image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
        results['img'] = image
        return results


@TRANSFORMS.register_module()
class PackFace:
    """Make ``inputs``, uint8 (3, S, S), and ``data_samples`` with the file's name and what was said of it."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """What the model's data preprocessor collates."""
        sample = BaseDataElement(metainfo=dict(file=results['file'], identity=results.get('identity')))
        for name in _PACKED:
            if name in results:
                sample.set_field(results[name], name)
        inputs = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        return dict(inputs=inputs, data_samples=sample)
