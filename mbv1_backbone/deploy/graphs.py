"""Networks as they are exported: bytes of images in, answers out, and all that lies between inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mbv1_backbone.face.model import LUMA, FaceEmbeddingModel
from mbv1_backbone.recipe import preprocessing_of


class Graph(nn.Module):
    """A network from bytes of images to answers.

    Attributes:
        inputs: Names of its inputs: one batch of images.
        outputs: Names of its outputs.
    """

    inputs: tuple[str, ...] = ('images',)
    outputs: tuple[str, ...]


class Normalise(nn.Module):
    """RGB bytes (N, H, W, 3) as a model's data preprocessor hands them on: float32 (N, 3, H, W), padded."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in preprocessing_of(model))
        self.divisor = int(getattr(getattr(model, 'data_preprocessor', None), 'pad_size_divisor', 1))
        self.gray = bool(getattr(getattr(model, 'data_preprocessor', None), 'gray', False))
        self.register_buffer('scale', 1 / std)
        self.register_buffer('shift', -mean / std)
        self.register_buffer('luma', torch.tensor(LUMA).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise."""
        pixels = images.permute(0, 3, 1, 2).float()
        if self.gray:
            pixels = (pixels * self.luma).sum(1, keepdim=True).round().expand(-1, 3, -1, -1)
        below, right = (-size % self.divisor for size in images.shape[1:3])
        return F.pad(pixels * self.scale + self.shift, (0, right, 0, below))


class EmbedderGraph(Graph):
    """Faces, uint8 (N, S, S, 3) in RGB, to embeddings float32 (N, D) of length 1."""

    outputs = ('embeddings',)

    def __init__(self, model: FaceEmbeddingModel) -> None:
        super().__init__()
        self.normalise = Normalise(model)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Embed."""
        return self.model.head(self.model.backbone(self.normalise(images)))
