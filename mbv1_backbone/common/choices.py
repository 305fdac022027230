"""Names that a user chooses by, apart from the code that knows them: help needs no torch."""

from __future__ import annotations

__all__ = [
    'BACKENDS',
    'COMPUTED_IN',
    'EXPORT_FORMATS',
    'EXPORT_INPUTS',
    'EXPORT_PRECISIONS',
    'FACE_POLICIES',
    'LAUNCHERS',
    'MODES',
    'PARTS',
]

BACKENDS = ('auto', 'openvino', 'onnxruntime', 'litert', 'ncnn', 'coreml', 'pt2', 'executorch', 'torch')
COMPUTED_IN = ('auto', 'fp32', 'bf16')
EXPORT_FORMATS = ('onnx', 'openvino', 'litert', 'ncnn', 'coreml', 'torch-export', 'aoti', 'executorch')
EXPORT_INPUTS = ('uint8', 'int8')
EXPORT_PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
MODES = ('latency', 'throughput')
PARTS = ('whole', 'backbone')
FACE_POLICIES = ('largest', 'all', 'reject')
KEY_SCOPES = ('read', 'write', 'admin')  # of clients of mbv1 serve, each with those before it
