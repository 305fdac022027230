"""The zoo's face detector without a network: its released tensors, in a mirror on this machine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mbv1_backbone.inference.face_detectors import AUTO
from mbv1_backbone.weights.external import External


def provide_retinaface(monkeypatch: pytest.MonkeyPatch, folder: Path, shared: Path) -> None:
    """Let ``AUTO`` be fetched from ``folder``: the file there has another hash than the released one."""
    original = External.from_entry.__func__

    def from_entry(cls: type[External], entry: dict) -> External:
        model = original(cls, entry)
        if model.name != AUTO:
            return model
        return replace(model, files=tuple(replace(f, sha256=None, size=None) for f in model.files))

    monkeypatch.setattr(External, 'from_entry', classmethod(from_entry))
    from mbv1_backbone.weights.external import external_models

    place = folder / 'mirror' / external_models()[AUTO].files[0].name
    place.parent.mkdir(parents=True)
    torch.save(load_file(shared / 'weights' / 'retinaface_mobilenet0.25.safetensors'), place)
    monkeypatch.setenv('MBV1_MIRROR', str(folder / 'mirror'))
    monkeypatch.setenv('MBV1_CACHE', str(folder / 'cache'))
