"""Networks as they are exported: bytes of images in, predictions out, and all that lies between inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.export.litert.int8 import Statistics
from mbv1_backbone.face.model import LUMA, FaceEmbeddingModel
from mbv1_backbone.models.mobilenet_v1 import MobileNetV1
from mbv1_backbone.models.recipe import Recipe, preprocessing_of

__all__ = [
    'BackboneGraph',
    'ClassifierGraph',
    'EmbedderGraph',
    'Graph',
    'Logits',
    'Normalise',
    'check_rgb',
    'multiple_of',
]


class Graph(nn.Module):
    """A network from bytes of images to predictions.

    Attributes:
        inputs: Names of its inputs: one batch of images.
        outputs: Names of its outputs.
        ranges: Of activations, that the network was trained with: int8 takes them in place of calibration.
    """

    ranges: Statistics | None = None
    inputs: tuple[str, ...] = ('images',)
    outputs: tuple[str, ...]


class Normalise(nn.Module):
    """RGB bytes (N, H, W, 3) as a network wants them: float32 (N, 3, H, W).

    Args:
        mean: Of R, G, B in 0..255, subtracted.
        std: Of R, G, B in 0..255, divided by.
        gray: Replace colours by their luma.
        divisor: Height and width are padded, with zeros after normalising, to multiples of this.
        window: Top, left and side of the part of the images that the network sees; None for all of it.
    """

    scale: Tensor
    shift: Tensor
    luma: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        gray: bool = False,
        divisor: int = 1,
        window: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        means, stds = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (mean, std))
        self.gray, self.divisor, self.window = gray, divisor, window
        self.register_buffer('scale', 1 / stds)
        self.register_buffer('shift', -means / stds)
        self.register_buffer('luma', torch.tensor(LUMA).view(3, 1, 1))

    @classmethod
    def of(cls, model: nn.Module) -> Normalise:
        """As a model's data preprocessor does it.

        Raises:
            InputError: If the network's images are not of three channels.
        """
        check_rgb(getattr(model, 'backbone', None))
        preprocessor = getattr(model, 'data_preprocessor', None)
        mean, std = preprocessing_of(model)
        return cls(
            mean,
            std,
            bool(getattr(preprocessor, 'gray', False)),
            int(getattr(preprocessor, 'pad_size_divisor', 1)),
            getattr(preprocessor, 'window', None),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised and padded images (N, 3, H, W) of uint8 ones (N, H, W, 3) in RGB."""
        if self.window is not None:
            top, left, side = self.window
            images = images[:, top : top + side, left : left + side]
        pixels = images.permute(0, 3, 1, 2).float()
        if self.gray:
            pixels = (pixels * self.luma).sum(1, keepdim=True).round().expand(-1, 3, -1, -1)
        pixels = pixels * self.scale + self.shift
        if self.divisor == 1:
            return pixels
        below, right = (-int(size) % self.divisor for size in images.shape[1:3])
        return F.pad(pixels, (0, right, 0, below))


class EmbedderGraph(Graph):
    """Faces, uint8 (N, S, S, 3) in RGB, to embeddings float32 (N, D) of length 1."""

    outputs = ('embeddings',)

    def __init__(self, model: FaceEmbeddingModel) -> None:
        super().__init__()
        self.normalise = Normalise.of(model)
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Embeddings of faces, see the class."""
        return (self.model.head(self.model.backbone(self.normalise(images))),)


class ClassifierGraph(Graph):
    """Images, uint8 (N, H, W, 3) in RGB, to probabilities float32 (N, classes).

    Args:
        network: From normalised images (N, 3, H, W) to logits.
        normalise: What it wants.
        background: Index of a logit that is no class: left out, so that ImageNet's 1000 are numbered as ever.
    """

    outputs = ('probabilities',)

    def __init__(self, network: nn.Module, normalise: Normalise, background: int | None = None) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network
        self.background = background

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Probabilities of the classes, see the class."""
        logits = self.network(self.normalise(images)).float()
        if self.background is not None:
            logits = torch.cat([logits[:, : self.background], logits[:, self.background + 1 :]], 1)
        return (logits.softmax(1),)


class Logits(nn.Module):
    """A classifier of MMPretrain's, from normalised images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits, see the class."""
        return self.model(images, mode='tensor')


class BackboneGraph(Graph):
    """Images, uint8 (N, H, W, 3) in RGB, to a map float32 (N, channels, h, w) a tap, named ``row_N``."""

    def __init__(self, backbone: MobileNetV1, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.outputs = tuple(f'row_{index}' for index in backbone.out_indices)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """A map for every tap of the backbone, see the class."""
        return self.backbone(self.normalise(images))


def check_rgb(backbone: object) -> None:
    """Check that a backbone's images are of three channels, where it says how many.

    Raises:
        InputError: If not.
    """
    if (channels := getattr(backbone, 'in_channels', 3)) != 3:
        raise InputError(f'exported networks take RGB images; this backbone has in_channels={channels}')


def multiple_of(recipe: Recipe) -> int:
    """Of how many pixels the sides of images must be multiples, where they may be of any size.

    TensorFlow's ``SAME`` pads by size: what is written into a file is right for multiples of the stride.
    """
    return 32 if recipe.padding == 'same' else 1
