"""A trained embedding network as a Python object: faces in, points on the unit sphere out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor
from tqdm import tqdm

from mbv1_backbone.common.errors import InputError, user_errors
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.face.model import FaceEmbeddingModel
from mbv1_backbone.models.layers import folded
from mbv1_backbone.models.recipe import Recipe, recipe_of
from mbv1_backbone.runtime.sessions import Session
from mbv1_backbone.training.checkpoint import load_weights, read_checkpoint
from mbv1_backbone.training.config import load_config
from mbv1_backbone.weights.store import fingerprint
from mbv1_backbone.weights.zoo import find_checkpoint

FaceLike: TypeAlias = str | os.PathLike[str] | np.ndarray | Tensor


@dataclass(frozen=True)
class Embedded:
    """Embeddings of faces, in the order of the images.

    Attributes:
        vectors: float32 (N, D), of length 1; without failures, and with one face an image, as many as images.
        sources: int64 (N,), the index of the image that each came from.
        failures: Index of an image -> why it has no embedding, in one line.
    """

    vectors: np.ndarray
    sources: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)


class FaceEmbedder:
    """Embeds faces: aligned or loosely cropped ones as they are, whole photographs with a ``finder``.

    Args:
        model: In evaluation mode afterwards.
        recipe: How its images are prepared.
        finder: Cuts faces out; without it the middle square of the image is taken for the face.
        bf16: Run the network in bfloat16: faster on processors that have it, cosines differ by some .001.

    Attributes:
        dims: D.
        fingerprint: SHA-256 of the weights: what a gallery is pinned to.
        preprocessing: What is done to an image; a gallery is pinned to it, too.
        backend: What runs the network, and in which precision.
        parallel: Batches that go through the network at once.

    Example:
        >>> embedder = FaceEmbedder.load('facenet_mbv1_1.0-160_distill')  # doctest: +SKIP
        >>> embedder.embed(['a.jpg', 'b.jpg']).vectors.shape  # doctest: +SKIP
        (2, 128)
    """

    parallel = 1

    def __init__(
        self,
        model: FaceEmbeddingModel,
        recipe: Recipe,
        finder: FaceFinder | None = None,
        bf16: bool = False,
    ) -> None:
        self.model = model.eval()
        self._network = folded(model)
        self.bf16 = bf16
        self.recipe = recipe
        self.finder = finder
        self.dims = int(model.head.embedding_dims)
        left_out = ('num_batches_tracked', *model.training_only)
        weights = model.state_dict()
        self.fingerprint = fingerprint(
            {n: w for n, w in weights.items() if not any(x in n for x in left_out)}
        )

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str] | None = None,
        finder: FaceFinder | None = None,
        device: str = 'cpu',
        bf16: bool = False,
    ) -> FaceEmbedder:
        """Load a network.

        Args:
            source: A checkpoint or published weights, or the name of a model in the zoo: they say how the
                network is built. Or a config, with ``checkpoint``.
            checkpoint: Of the config.
            finder: For whole photographs.
            device: Torch's name of it.
            bf16: Run the network in bfloat16.

        Raises:
            InputError: If a file is missing, damaged, or not of an embedding network.
        """
        if Path(source).suffix == '.py':
            if checkpoint is None:
                raise InputError(f'config {source}: needs a checkpoint')
            model = _build(load_config(source).model, str(source))
            load_weights(model, checkpoint)
        else:
            if checkpoint is not None:
                raise InputError(f'{source}: a second checkpoint {checkpoint} goes with a config only')
            model = _from_checkpoint(source)
        recipe = recipe_of(model, str(source))
        assert recipe is not None  # _build takes no other backbone
        return cls(model.to(device), recipe, finder, bf16)

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return f'torch {torch.__version__}, {"bf16" if self.bf16 else "fp32"}'

    @property
    def input_size(self) -> int:
        """Side of the square that the network sees, in pixels."""
        return self.recipe.input_size

    @property
    def preprocessing(self) -> dict[str, str | int]:
        """What cuts faces out, the size in pixels, and the colours."""
        found = 'middle square' if self.finder is None else type(self.finder.detector).__name__
        return dict(face=found, size=self.input_size, colours='grey' if self.recipe.gray else 'RGB')

    def embed(
        self, images: Sequence[FaceLike], batch_size: int = 8, flip: bool = False, progress: bool = False
    ) -> Embedded:
        """Embed faces.

        Args:
            images: Files, RGB arrays uint8 (H, W, 3), or tensors uint8 (3, H, W) in RGB.
            batch_size: Faces that go through the network at once.
            flip: Average with the embedding of the mirrored face: twice the work, a little better.
            progress: Show a bar.

        Returns:
            Embeddings, and reasons for the images that have none; these stop nothing.

        Raises:
            ValueError: If the batch size is not positive.
        """
        sources: list[int] = []
        failures: dict[int, str] = {}

        def faces() -> Iterator[np.ndarray]:
            found = prefetch(self._prepare, images, DECODERS, max_pending=2 * batch_size)
            with tqdm(found, total=len(images), unit='image', disable=not progress, leave=False) as bar:
                for index, cut_out in enumerate(bar):
                    if isinstance(cut_out, str):
                        failures[index] = cut_out
                        continue
                    sources.extend([index] * len(cut_out))
                    yield from cut_out

        def forward(batch: list[np.ndarray]) -> np.ndarray:
            return self.forward(batch, flip)

        vectors = list(map_concurrently(forward, batched(faces(), batch_size), self.parallel))
        vectors.append(np.zeros((0, self.dims), np.float32))
        return Embedded(np.concatenate(vectors), np.array(sources, np.int64), failures)

    def _prepare(self, image: FaceLike) -> list[np.ndarray] | str:
        try:
            pixels = _as_array(image)
            if self.finder is None:
                return [fit_square(pixels, self.input_size)]
            return self.finder(pixels, self.input_size)
        except (InputError, ValueError) as error:
            return str(error)

    @torch.inference_mode()
    def forward(self, faces: Sequence[np.ndarray], flip: bool = False) -> np.ndarray:
        """Embeddings float32 (N, D) of faces that are cut out: RGB uint8, square, of the input's size."""
        inputs = [
            torch.from_numpy(np.ascontiguousarray(face[..., ::-1].transpose(2, 0, 1))) for face in faces
        ]
        prepared = self.model.data_preprocessor(dict(inputs=inputs))['inputs']
        with torch.autocast(prepared.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            embeddings = self._network(prepared)
            if flip:
                embeddings = torch.nn.functional.normalize(embeddings + self._network(prepared.flip(3)))
        return embeddings.float().cpu().numpy()


class ExportedEmbedder(FaceEmbedder):
    """The same of a file of ``mbv1 export``: it has the fingerprint of the weights that it was made of.

    Args:
        session: Of an embedder.
        finder: For whole photographs.

    Raises:
        InputError: If the session is of something else.
    """

    def __init__(self, session: Session, finder: FaceFinder | None = None) -> None:
        if session.spec.kind != 'embedder':
            raise InputError(f'{session.path}: not an embedding network, but a {session.spec.kind}')
        self.session = session
        self.parallel = session.parallel
        self.recipe = Recipe.from_dict(session.spec.recipe)
        self.finder = finder
        self.dims = session.spec.dims
        self.fingerprint = session.spec.fingerprint

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return str(self.session)

    def forward(self, faces: Sequence[np.ndarray], flip: bool = False) -> np.ndarray:
        """Embeddings float32 (N, D) of faces that are cut out: RGB uint8, square, of the input's size."""
        images = np.stack(faces)
        embeddings = self.session.run(images)[0]
        if flip:
            embeddings = embeddings + self.session.run(np.ascontiguousarray(images[:, :, ::-1]))[0]
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings


def _as_array(image: FaceLike) -> np.ndarray:
    """RGB uint8 (H, W, 3)."""
    if isinstance(image, Tensor):
        image = image.cpu().numpy().transpose(1, 2, 0) if image.ndim == 3 else image.cpu().numpy()
    if not isinstance(image, np.ndarray):
        return read_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f'images must be uint8 (H, W, 3), got {image.dtype} {image.shape}')
    return image


def is_embedder(source: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint, published weights or a name in the zoo is of an embedding network."""
    try:
        return _is_embedder(*read_checkpoint(find_checkpoint(source)))
    except InputError:  # other projects' formats
        return False


def _is_embedder(state: dict[str, Tensor], meta: dict[str, Any]) -> bool:
    return bool(meta.get('recipe')) and {'head.fc.weight', 'backbone.rows.0.conv.weight'} <= state.keys()


def _from_checkpoint(source: str | os.PathLike[str]) -> FaceEmbeddingModel:
    """A network built by what a checkpoint says of itself."""
    state, meta = read_checkpoint(find_checkpoint(source))
    if not _is_embedder(state, meta):
        raise InputError(f'{source}: not the weights of an embedding network of this project')
    recipe = Recipe.from_dict(meta['recipe'])
    config: dict[str, Any] = dict(
        backbone=dict(type='MobileNetV1', **recipe.backbone()),
        head=dict(embedding_dims=len(state['head.fc.weight']), norm='head.norm.weight' in state),
        data_preprocessor=dict(**recipe.preprocessor(), input_size=recipe.input_size, gray=recipe.gray),
    )
    model = _build(dict(config, type='FaceEmbeddingModel'), str(source))
    load_weights(model, source)
    return model


def _build(config: dict[str, Any], source: str) -> FaceEmbeddingModel:
    if config.get('type') != FaceEmbeddingModel.__name__:
        raise InputError(f'{source}: not an embedding network, but {config.get("type")}')
    with user_errors(source):
        backbone = {**config['backbone'], 'type': 'MobileNetV1', 'init_cfg': None}
        return MODELS.build({**config, 'backbone': backbone, 'losses': (), '_scope_': 'mmengine'})
