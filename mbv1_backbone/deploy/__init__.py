"""Export and fast inference: ONNX and OpenVINO files of whole models, and sessions that run them."""
