"""The embedding network: backbone, global pooling, a linear layer, a point on the unit sphere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel, BaseModule, ImgDataPreprocessor
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['LUMA', 'EmbeddingHead', 'FaceEmbeddingModel', 'FacePreprocessor']

LUMA = (0.299, 0.587, 0.114)  # of R, G, B (ITU-R BT.601), as JPEG and Pillow's mode L have it


@MODELS.register_module()
class FacePreprocessor(ImgDataPreprocessor):
    """Stacks images, makes them gray where the network was trained so, and normalises them.

    Args:
        input_size: Side of the square images, in pixels; others are refused.
        gray: Replace colours by their luma, in all three channels.
        window: Top, left and side, in pixels, of the part of the images that the network sees: one that was
            trained on tighter faces than the others here takes the same images as they do.
        kwargs: mmengine's: ``mean``, ``std`` (of R, G, B in 0..255) and ``bgr_to_rgb``.
    """

    def __init__(
        self,
        input_size: int = 160,
        gray: bool = False,
        window: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_size = input_size
        self.gray = gray
        self.window = window and (int(window[0]), int(window[1]), int(window[2]))
        luma = LUMA[::-1] if kwargs.get('bgr_to_rgb') else LUMA
        self.register_buffer('luma', torch.tensor(luma).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare ``inputs``, a list of uint8 (3, S, S), as one float (N, 3, S, S).

        Raises:
            ValueError: If an image is not square of the side that the network was built for.
        """
        inputs = torch.stack([image.to(self.device, non_blocking=True) for image in data['inputs']])
        if inputs.shape[1:] != (3, self.input_size, self.input_size):
            raise ValueError(
                f'images must be 3 x {self.input_size} x {self.input_size}, got {tuple(inputs.shape[1:])}'
            )
        if self.window:
            top, left, side = self.window
            inputs = inputs[..., top : top + side, left : left + side]
        inputs = inputs.float()
        if self.gray:
            inputs = (inputs * self.luma).sum(1, keepdim=True).round_().expand(-1, 3, -1, -1)
        elif self._channel_conversion:
            inputs = inputs.flip(1)
        samples = data.get('data_samples')
        samples = None if samples is None else [sample.to(self.device) for sample in samples]
        return dict(inputs=(inputs - self.mean) / self.std, data_samples=samples)


@MODELS.register_module()
class EmbeddingHead(BaseModule):
    """Global average pooling, and a linear layer, onto the unit sphere (FaceNet, arXiv:1503.03832, 3).

    Args:
        in_channels: Of the feature map.
        embedding_dims: Of the embedding; None leaves the linear layer out: pooled features are the embedding.
        norm: Batch norm after the linear layer, in place of its bias.
        dropout: Share of pooled features dropped in training, in [0, 1).
        init_cfg: mmengine's initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        embedding_dims: int | None = 128,
        norm: bool = False,
        dropout: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embedding_dims is not None and embedding_dims < 2:
            raise ValueError(f'embedding_dims must be at least 2, got {embedding_dims}')
        self.embedding_dims = embedding_dims or in_channels
        self.dropout = nn.Dropout(dropout)
        linear = nn.Linear(in_channels, self.embedding_dims, bias=not norm)
        self.fc = nn.Identity() if embedding_dims is None else linear
        self.norm = nn.BatchNorm1d(self.embedding_dims) if norm else nn.Identity()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map the last of the backbone's maps (N, C, H, W) to float32 embeddings (N, D) of length 1."""
        pooled = features[-1].mean((2, 3))
        return F.normalize(self.norm(self.fc(self.dropout(pooled))).float())


@MODELS.register_module()
class FaceEmbeddingModel(BaseModel):
    """A network that maps faces to the unit sphere, so that a person's images lie close together.

    Args:
        backbone: With ``taps``; the head reads the last.
        head: ``EmbeddingHead``, without ``in_channels``.
        losses: One or several; each is called with embeddings and samples, and they are added up.
        data_preprocessor: ``FacePreprocessor``.
        init_cfg: mmengine's initialisation.

    Attributes:
        training_only: Prefixes of tensors that embedding does without.
    """

    training_only = ('losses.',)

    def __init__(
        self,
        backbone: dict[str, Any],
        head: dict[str, Any] | None = None,
        losses: dict[str, Any] | Sequence[dict[str, Any]] = (),
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__({'type': 'FacePreprocessor', **(data_preprocessor or {})}, init_cfg)
        self.backbone = MODELS.build(backbone)
        head = {'type': 'EmbeddingHead', 'in_channels': self.backbone.taps[-1].channels, **(head or {})}
        self.head = MODELS.build(head)
        losses = [losses] if isinstance(losses, dict) else losses
        dims = dict(embedding_dims=self.head.embedding_dims)
        self.losses = nn.ModuleList(MODELS.build(loss, default_args=dims) for loss in losses)

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[BaseDataElement]:
        """Embed prepared images.

        Args:
            inputs: Float (N, 3, S, S), from the data preprocessor.
            data_samples: N samples, with what the losses need: ``label``, ``teacher``.
            mode: ``tensor`` gives embeddings (N, D), ``loss`` a dict of losses, ``predict`` the samples with
                ``embedding`` (D,) set.

        Raises:
            ValueError: If the mode is none of these.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')
        embeddings = self.head(self.backbone(inputs))
        if mode == 'tensor':
            return embeddings
        samples = data_samples or [BaseDataElement() for _ in inputs]
        if mode == 'loss':
            return self._losses(embeddings, samples)
        for sample, embedding in zip(samples, embeddings, strict=True):
            sample.set_field(embedding, 'embedding')
        return samples

    def _losses(self, embeddings: Tensor, samples: list[BaseDataElement]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        with torch.autocast(embeddings.device.type, enabled=False):
            for loss in self.losses:
                found[f'loss_{loss.name}'] = loss(embeddings, samples)
        return found
