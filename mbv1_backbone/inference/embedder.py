"""A trained embedding network as a Python object: faces in, points on the unit sphere out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.images import read_image
from mbv1_backbone.common.prefetch import DECODERS, batched, map_concurrently, prefetch
from mbv1_backbone.face.finder import MAX_ASPECT, MAX_SIDE, SMALL_SIDE, FaceFinder, Place, is_uncropped
from mbv1_backbone.face.geometry import fit_square
from mbv1_backbone.inference.inputs import as_images
from mbv1_backbone.runtime.sessions import Network

if TYPE_CHECKING:  # an exported embedder needs no torch
    from torch import Tensor

    from mbv1_backbone.face.model import FaceEmbeddingModel
    from mbv1_backbone.models.recipe import Recipe

__all__ = ['Embedded', 'FaceEmbedder', 'FaceLike']

FaceLike: TypeAlias = Union[str, os.PathLike[str], bytes, np.ndarray, 'Tensor']


@dataclass(frozen=True)
class Embedded:
    """Embeddings of faces, in the order of the images.

    Attributes:
        vectors: float32 (N, D), of length 1; without failures, and with one face an image, as many as images.
        sources: int64 (N,), the index of the image that each came from.
        failures: Index of an image -> why it has no embedding, in one line.
        places: Where in its image each face is, N.
    """

    vectors: np.ndarray
    sources: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    places: tuple[Place, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        count, dims = self.vectors.shape
        images = len({*self.sources.tolist(), *self.failures})
        first = next(iter(self.failures.values()), '')
        left_out = f', failures: {len(self.failures)}, the first: {first}' if self.failures else ''
        return f'Embedded(vectors: {count} x {dims}, images: {images}{left_out})'


class FaceEmbedder:
    """Embeds faces: aligned or loosely cropped ones as they are, whole photographs with a ``finder``.

    Args:
        network: Of an embedder.
        finder: Cuts faces out; without it the middle square of the image is taken for the face.

    Attributes:
        network: What embeds.
        finder: What cuts faces out.
        seen: Images that were embedded.
        uncropped: How many of them are evidently no face crops, and had no finder.
        crops: How many of them the finder took for face crops, and so as they are.
        faceless: How many of these have no face that is found.

    Raises:
        InputError: If the network is of another kind.

    Example:
        >>> from mbv1_backbone.inference.loading import load
        >>> embedder = load('facenet_mbv1_1.0-160_color', kind='embedder')  # doctest: +SKIP
        >>> embedder.embed(['a.jpg', 'b.jpg']).vectors.shape  # doctest: +SKIP
        (2, 128)
    """

    def __init__(self, network: Network, finder: FaceFinder | None = None) -> None:
        if network.spec.kind != 'embedder':
            raise InputError(f'not an embedder, but {network.spec.a_kind}')
        self.network = network
        self.finder = finder
        self.seen = self.uncropped = self.crops = self.faceless = 0

    def uncropped_note(self) -> str:
        """One line for the images so far that are evidently no face crops, empty where there are none.

        Without a finder their middle square was taken for the face.
        """
        if not self.uncropped:
            return ''
        return (
            f'{self.uncropped} of {self.seen} images are whole photographs by their shape (sides of more '
            f'than {MAX_ASPECT:g} : 1, or more than {MAX_SIDE} pixels), and their middle square was taken '
            'for the face: with --detector auto faces are found and aligned'
        )

    def crops_note(self) -> str:
        """One line for the images so far that the finder took for face crops, empty where there are none."""
        if not self.crops:
            return ''
        none = f'; in {self.faceless} of them, of at most {SMALL_SIDE} pixels, none is found'
        return (
            f'{self.crops} of {self.seen} images are face crops and were taken as they are: a face fills them'
            + (none if self.faceless else '')
        )

    @classmethod
    def of_model(
        cls,
        model: FaceEmbeddingModel,
        recipe: Recipe,
        finder: FaceFinder | None = None,
        bf16: bool = False,
    ) -> FaceEmbedder:
        """Of a model in memory, run by PyTorch with its own data preprocessor.

        Args:
            model: In evaluation mode afterwards; a copy with folded batch norms is what embeds.
            recipe: How its images are prepared.
            finder: For whole photographs.
            bf16: Run the network in bfloat16: faster on processors that have it, cosines differ by some .001.
        """
        from mbv1_backbone.inference.pytorch import model_embedder

        return cls(model_embedder(model, recipe, bf16=bf16), finder)

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str] | None = None,
        finder: FaceFinder | None = None,
        device: str = 'cpu',
        bf16: bool = False,
    ) -> FaceEmbedder:
        """Load a network, and embed in PyTorch with the model's own data preprocessor.

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
        from mbv1_backbone.inference.pytorch import model_embedder
        from mbv1_backbone.inference.resolve import resolve

        found = resolve(source, checkpoint).expect('embedder')
        return cls(model_embedder(found.model, found.recipe, device, bf16), finder)

    @property
    def dims(self) -> int:
        """Values of an embedding, D."""
        return self.network.spec.dims

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: what a gallery is tied to."""
        return self.network.spec.fingerprint

    @property
    def backend(self) -> str:
        """What runs the network, and in which precision."""
        return str(self.network)

    @property
    def parallel(self) -> int:
        """Batches that go through the network at once."""
        return self.network.parallel

    @property
    def input_size(self) -> int:
        """Side of the square that the network sees, in pixels."""
        return self.network.spec.size[0]

    @property
    def preprocessing(self) -> dict[str, str | int]:
        """What cuts faces out, the size in pixels, and the colours: a gallery is tied to them, too."""
        found = 'middle square' if self.finder is None else self.finder.identity
        colours = 'gray' if self.network.spec.recipe['gray'] else 'RGB'
        return dict(face=found, size=self.input_size, colours=colours)

    def embed(
        self,
        images: FaceLike | Iterable[FaceLike],
        batch_size: int = 8,
        flip: bool = False,
        progress: bool = False,
    ) -> Embedded:
        """Embed faces.

        Args:
            images: Files, their contents (bytes), RGB arrays uint8 (H, W, 3), or tensors uint8 (3, H, W) in
                RGB; a single one, but of bytes, is the same as a list of one.
            batch_size: Faces that go through the network at once.
            flip: Average with the embedding of the mirrored face: twice the work, a little better.
            progress: Show a bar.

        Returns:
            Embeddings, and reasons for the images that have none; these stop nothing. Of a single image they
            are ``vectors[0]``, unless ``failures`` says why there is none.

        Raises:
            InputError: If the finder's detector cannot be had.
            ValueError: If the batch size is not positive.
        """
        sources: list[int] = []
        failures: dict[int, str] = {}
        places: list[Place] = []
        given = as_images(images)
        if self.finder is not None:
            self.finder.open()

        def faces() -> Iterator[np.ndarray]:
            found = prefetch(self._prepare, given, DECODERS, max_pending=2 * batch_size)
            for index, cut_out in enumerate(_with_bar(found, given) if progress else found):
                if isinstance(cut_out, str):
                    failures[index] = cut_out
                    continue
                self.seen += 1
                self.uncropped += isinstance(cut_out, _Uncropped)
                self._count_crops(cut_out)
                sources.extend([index] * len(cut_out))
                places.extend(place for _, place in cut_out)
                yield from (face for face, _ in cut_out)

        def forward(batch: list[np.ndarray]) -> np.ndarray:
            return self.forward(batch, flip)

        vectors = list(map_concurrently(forward, batched(faces(), batch_size), self.parallel))
        vectors.append(np.zeros((0, self.dims), np.float32))
        return Embedded(np.concatenate(vectors), np.array(sources, np.int64), failures, tuple(places))

    def _count_crops(self, cut_out: list[tuple[np.ndarray, Place]]) -> None:
        if self.finder is not None and self.finder.crops:
            taken = [place for _, place in cut_out if place.box is None]
            self.crops += len(taken)
            self.faceless += sum(place.score is None for place in taken)

    def _prepare(self, image: FaceLike) -> list[tuple[np.ndarray, Place]] | str:
        try:
            pixels = _as_array(image)
            if self.finder is None:
                kind = _Uncropped if is_uncropped(pixels) else list
                return kind([(fit_square(pixels, self.input_size), Place())])
            return self.finder.find(pixels, self.input_size)
        except (InputError, ValueError) as error:
            return str(error)

    def forward(self, faces: Sequence[np.ndarray], flip: bool = False) -> np.ndarray:
        """Embeddings float32 (N, D) of faces that are cut out: RGB uint8, square, of the input's size."""
        images = np.stack(faces)
        embeddings = self.network.run(images)[0]
        if flip:
            embeddings = embeddings + self.network.run(np.ascontiguousarray(images[:, :, ::-1]))[0]
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings


class _Uncropped(list[tuple[np.ndarray, Place]]):
    """Faces of an image that is evidently no crop."""


def _with_bar(
    found: Iterator[list[tuple[np.ndarray, Place]] | str], images: Iterable[FaceLike]
) -> Iterator[list[tuple[np.ndarray, Place]] | str]:
    from tqdm import tqdm  # not asked of those who only embed

    total = len(images) if isinstance(images, Sequence | np.ndarray) else None
    with tqdm(found, total=total, unit='image', leave=False) as bar:
        yield from bar


def _as_array(image: FaceLike) -> np.ndarray:
    """RGB uint8 (H, W, 3)."""
    if isinstance(image, str | os.PathLike | bytes):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        image = _of_tensor(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f'images must be uint8 (H, W, 3), got {image.dtype} {image.shape}')
    return image


def _of_tensor(image: Tensor) -> np.ndarray:
    """RGB (H, W, 3) of a tensor (3, H, W)."""
    if not hasattr(image, 'cpu'):  # torch need not be there to ask
        raise InputError(f'an image must be a file, an array or a tensor, got {type(image).__name__}')
    array: np.ndarray = image.cpu().numpy()
    if array.ndim != 3 or len(array) != 3:
        raise InputError(f'tensors must be uint8 (3, H, W), got {array.dtype} {array.shape}')
    return array.transpose(1, 2, 0)
