"""Any source of weights, by file or by URL, and what mmengine loads from them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from mbv1_backbone.common.errors import DamagedFileError, InputError, Mbv1Error
from mbv1_backbone.compat.hooks import SCHEMES
from mbv1_backbone.weights.cache import fetch, sha256_of
from mbv1_backbone.weights.keras import is_hdf5, keras_url, read_keras
from mbv1_backbone.weights.parts import is_checkpoint, is_tfjs
from mbv1_backbone.weights.pytorch import from_state_dict, is_pth, read_state_dict
from mbv1_backbone.weights.slim import read_slim
from mbv1_backbone.weights.store import Weights, described, read_safetensors
from mbv1_backbone.weights.tf_frozen import read_frozen
from mbv1_backbone.weights.tf_graph import is_tf_graph
from mbv1_backbone.weights.tfjs import read_tfjs
from mbv1_backbone.weights.tflite import read_tflite
from mbv1_backbone.weights.tflite_graph import is_tflite
from mbv1_backbone.weights.zoo import find_checkpoint

__all__ = ['import_weights', 'load_checkpoint', 'local_file']

_TIMM = re.compile(r'mobilenetv1_(?:100|125)\.[a-z0-9_]+')
_SHA256 = re.compile(r'[0-9a-fA-F]{64}')


def import_weights(*sources: str | os.PathLike[str]) -> Weights:
    """Import weights of MobileNetV1 from where they were published.

    Args:
        sources: A file of any known format, which it is detected by; a TensorFlow checkpoint's prefix;
            ``timm://NAME`` or ``keras://NAME``, downloaded once; a name in the model zoo. Files and zoo names
            may have a scheme before them, as mmengine's configs need it: ``tflite://``, ``slim://``,
            ``zoo://`` and the like, or ``mbv1://`` for any of them. ``#sha256=HASH`` behind any source of one
            file holds it to its hash.
            Several TFLite files that follow each other are one source.

    Raises:
        InputError: If a source is missing, damaged, unknown, or its tensors are not all MobileNetV1's.

    Example:
        >>> import_weights('timm://mobilenetv1_100.ra4_e3600_r224_in1k').recipe.mean  # doctest: +SKIP
        (127.5, 127.5, 127.5)
    """
    paths = [local_file(source) for source in sources]
    if len(paths) > 1 and not all(path.is_file() and is_tflite(path) for path in paths):
        raise InputError('several sources at once must be TFLite files, the parts of one network')
    try:
        return _read(paths)
    except Mbv1Error:
        raise
    except Exception as error:  # content that was made up or damaged: of any kind
        if _is_of_code(error):
            raise
        reason = f'{type(error).__name__}: {error}'
        raise DamagedFileError(f'{paths[0]}: cannot be read as weights: {reason}') from error


def _is_of_code(error: Exception) -> bool:
    """Whether no file can have raised an error: of a name, an import, or a member of a module or a class."""
    if isinstance(error, AttributeError):
        return isinstance(error.obj, ModuleType | type)
    return isinstance(error, NameError | ImportError)


def _read(paths: list[Path]) -> Weights:
    path = paths[0]
    if is_checkpoint(path):
        return read_slim(path)
    if is_tflite(path):
        return read_tflite(paths)
    if is_hdf5(path):
        return read_keras(path)
    if is_pth(path):
        return from_state_dict(read_state_dict(path), str(path))
    if path.suffix == '.safetensors':
        state, metadata = read_safetensors(path)
        return described(state, metadata, path) or from_state_dict(state, str(path))
    if is_tfjs(path):
        return read_tfjs(path)
    if is_tf_graph(path):
        return read_frozen(path)
    raise InputError(
        f'{path}: not a known kind of weights: TFLite, Keras .h5, TensorFlow checkpoint, '
        'frozen graph .pb, TensorFlow.js .json, .safetensors, .pth'
    )


def local_file(source: str | os.PathLike[str]) -> Path:
    """The file that a name stands for: here, and nowhere else, a name becomes a file.

    Args:
        source: As ``import_weights`` takes it.

    Returns:
        A path on this machine, downloaded where the source names a released file; of a TensorFlow checkpoint
        its prefix.

    Raises:
        InputError: If there is no such file, no such name, or it cannot be downloaded.
    """
    source = os.fspath(source)
    scheme, separator, name = source.partition('://')
    if separator and scheme not in SCHEMES:
        raise InputError(f'{source}: the schemes are {", ".join(f"{s}://" for s in SCHEMES)}')
    name, held, sha256 = (name if separator else source).partition('#sha256=')
    if held and not _SHA256.fullmatch(sha256):
        raise InputError(f'{source}: a SHA-256 is 64 hexadecimal digits, got {sha256!r}')
    path = Path(name)
    if not path.is_file() and not is_checkpoint(path):
        if separator and scheme == 'timm' and '/' not in name:
            return fetch(_timm_url(name), f'{name}.safetensors', sha256 or None)
        if separator and scheme == 'keras' and '/' not in name:
            url = keras_url(name)
            return fetch(url, url.rpartition('/')[2], sha256 or None)
        path = find_checkpoint(path)
    if held:
        _hold(path, sha256.lower())
    return path


def _hold(path: Path, sha256: str) -> None:
    """Raise where a file has another hash."""
    if is_checkpoint(path) or is_tfjs(path):
        kind = 'TensorFlow.js model' if is_tfjs(path) else 'TensorFlow checkpoint'
        raise InputError(f'{path}: #sha256= is of one file, and a {kind} has several')
    if (found := sha256_of(path)) != sha256:
        raise InputError(f'{path} has SHA-256 {found} instead of {sha256}')


def _timm_url(name: str) -> str:
    if re.match(r'mobilenetv1_\d+h', name):
        raise InputError(
            f"timm://{name}: timm's h variants put one more 1x1 convolution between MobileNetV1 and the "
            'classifier, which the paper has not; take mobilenetv1_100 or mobilenetv1_125'
        )
    if not _TIMM.fullmatch(name):
        raise InputError(
            f'timm://{name}: the released ones are mobilenetv1_100.ra4_e3600_r224_in1k and '
            'mobilenetv1_125.ra4_e3600_r224_in1k'
        )
    return f'https://huggingface.co/timm/{name}/resolve/main/model.safetensors'


def load_checkpoint(filename: str) -> dict[str, Any]:
    """What mmengine loads from the schemes, and from ``.safetensors``, which are taken as they are.

    Returns:
        ``state_dict``, of a backbone's weights without the last layer of the classifier that they are from,
        and ``meta`` with the ``recipe`` where the weights have one.
    """
    if '://' not in filename:
        state, metadata = read_safetensors(filename)
        found = described(state, metadata, filename)
        if found is None:
            return dict(state_dict=state, meta={})
        weights = found
    else:
        weights = import_weights(filename)
    state = weights.state
    if 'rows.0.conv.weight' in state:  # a backbone's names: mmengine warns of a last layer beside them
        state = {name: tensor for name, tensor in state.items() if not name.startswith('head.')}
    return dict(state_dict=state, meta=dict(recipe=weights.recipe))
