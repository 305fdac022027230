"""From a verb's arguments to what they name: a config, its checkpoint, a network that is ready to use."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.runtime.coreml import check_coreml
from mbv1_backbone.weights.zoo import config_of, find_any_config, zoo_names

if TYPE_CHECKING:
    from mbv1_backbone.inference.loading import Kind

__all__ = ['cfg_options', 'config_and_checkpoint', 'is_config', 'open_network', 'source_and_checkpoint']

_CONFIGS = ('.py', '.json', '.yml', '.yaml')  # mmengine's kinds


def cfg_options(args: Namespace) -> dict[str, Any]:
    """``--cfg-options`` as mmengine reads them: dotted keys to values.

    Raises:
        InputError: If one has no value.
    """
    from mmengine.config import DictAction

    given = args.cfg_options or []
    if wrong := next((pair for pair in given if '=' not in pair), None):
        raise InputError(f'--cfg-options are given as key=value, got {wrong}')
    values = Namespace()
    DictAction(['--cfg-options'], 'read', nargs='+')(None, values, given)
    return dict(values.read)


def is_config(model: str) -> bool:
    """Whether a checkpoint must follow: a config's file or name, and no name in the zoo."""
    if model in zoo_names():
        return False
    if Path(model).suffix == '.py':
        return True
    try:
        return not Path(model).is_file() and bool(find_any_config(model))
    except InputError:
        return False


def config_and_checkpoint(model: str, checkpoint: str | None) -> tuple[str, str]:
    """The config and the checkpoint that a user means.

    Args:
        model: A config, or the name of a model in the zoo, which names its config.
        checkpoint: Of the config; of a name another one than the zoo's own.

    Raises:
        InputError: If the model is neither, or a config has no checkpoint.
    """
    package = Path(model).suffix == '.mlpackage' and Path(model).is_dir()
    if package or (Path(model).is_file() and Path(model).suffix not in _CONFIGS):
        raise InputError(f'{model}: not a config; an exported file and weights stand after their config')
    check_coreml(Path(checkpoint or ''))
    config = str(find_any_config(model))
    if model in zoo_names():
        return config, checkpoint or model
    if checkpoint is None:
        raise InputError(f'config {model}: needs a checkpoint after it')
    return config, checkpoint


def source_and_checkpoint(model: str, checkpoint: str | None) -> tuple[str, str | None]:
    """The same for ``load`` and ``resolve``, which take files that need no config, too."""
    if config_of(model) is not None or is_config(model):
        return config_and_checkpoint(model, checkpoint)
    return model, checkpoint


def open_network(args: Namespace, model: str, checkpoint: str | None, kind: Kind, finder: Any = None) -> Any:
    """A ``Detector``, ``Classifier`` or ``FaceEmbedder``, as the options of ``add_backend`` ask for it.

    Args:
        args: Parsed arguments.
        model: Name in the zoo, config, weights or exported file.
        checkpoint: Of the config.
        kind: ``'detector'``, ``'classifier'`` or ``'embedder'``.
        finder: Of an embedder: finds faces in whole photographs.

    Raises:
        InputError: If something is missing or wrong.
    """
    for path in (model, checkpoint or ''):
        check_coreml(Path(path))  # before what takes long to import
    from mbv1_backbone.inference.loading import load

    if args.device == 'cpu':
        mode = args.mode or 'throughput'
        source = (model, checkpoint) if kind == 'embedder' else source_and_checkpoint(model, checkpoint)
        options: dict[str, Any] = dict(
            backend=args.backend, threads=args.threads, mode=mode, precision=args.precision
        )
        return load(*source, kind=kind, finder=finder, **options)
    if args.backend not in ('auto', 'torch'):
        raise InputError(f'--device {args.device} is of PyTorch, --backend {args.backend} runs on the CPU')
    for option in ('threads', 'mode'):
        if getattr(args, option) is not None:
            raise InputError(f'--device {args.device} is of PyTorch, --{option} is for the CPU')
    bf16 = args.precision == 'bf16'
    from mbv1_backbone.inference.pytorch import device_of

    device_of(args.device)  # before files are read
    if kind == 'embedder':
        from mbv1_backbone.inference.embedder import FaceEmbedder

        return FaceEmbedder.load(model, checkpoint, finder, args.device, bf16)
    if kind == 'classifier':
        from mbv1_backbone.inference.classifier import Classifier
        from mbv1_backbone.inference.exportable import exportable
        from mbv1_backbone.inference.pytorch import TorchNetwork
        from mbv1_backbone.inference.resolve import resolve

        found = resolve(*source_and_checkpoint(model, checkpoint)).expect(kind)
        return Classifier(TorchNetwork(*exportable(found), bf16, args.device))
    from mbv1_backbone.inference.detector import Detector

    return Detector.load(*config_and_checkpoint(model, checkpoint), args.device, bf16)
