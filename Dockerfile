# The service (mbv1 serve) for processors. See docs/service.md, "In a container".
#   docker build -t mbv1-backbone .
# The usual wheels of torch for x86-64 bring CUDA, 2.8 GB that this image has no use for. PyTorch also publishes wheels for
# processors alone, at an address of its own (its installation page names it):
#   docker build -t mbv1-backbone --build-arg TORCH_INDEX=ADDRESS .
FROM python:3.11 AS build
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/mbv1
ENV PATH=/opt/mbv1/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} $(grep -E '^(torch|torchvision)==' constraints.txt)
COPY pyproject.toml setup.py README.md LICENSE model-index.yml ./
COPY configs configs
COPY tools tools
COPY model_zoo model_zoo
COPY mbv1_backbone mbv1_backbone
# OpenCV without windows: the other one needs libraries of a desktop
RUN pip install -c constraints.txt '.[server,faces,detection,deploy]' \
    && pip uninstall --yes opencv-python \
    && pip install --no-deps "opencv-python-headless==$(sed -n 's/^opencv-python==//p' constraints.txt)" \
    && python -c 'import cv2, faiss, mmdet, onnxruntime, openvino; import mbv1_backbone.server.app'

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp mbv1 \
    && install --directory --owner=mbv1 --group=mbv1 /data /data/cache /data/backups
COPY --from=build /opt/mbv1 /opt/mbv1
# All that is written is in the volume /data and in /tmp
ENV PATH=/opt/mbv1/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib MBV1_CACHE=/data/cache PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s CMD ["python", "-m", "mbv1_backbone.cli.serve_health"]
ENTRYPOINT ["mbv1", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--detector", "ssd_mbv1_0.75_tf_bccd", "--model", "facenet_mbv1_1.0-160_color", "--faces", "/data/people", "--create", \
     "--backups", "/data/backups", "--keys", "/data/keys.json"]
