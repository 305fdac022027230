# make demo: from an empty machine to a trained detector.   make test: the tests.   make help: the rest.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
DEMO := work_dirs/demo
CONFIG := configs/detection/ssd_mbv1_demo.py
SHARED := ../shared/data
PHOTOS ?= $(SHARED)/lfw_color/whole
FACES := work_dirs/faces
EMBEDDER ?= facenet_mbv1_1.0-160_color
EXECUTORCH := build/executorch
RETINAFACE := $(SHARED)/weights/retinaface_mobilenet0.25.safetensors
DETECTOR ?= $(if $(wildcard $(RETINAFACE)),$(FACES)/retinaface.onnx,auto)
GALLERY := $(RUN) -m mbv1_backbone gallery
SERVED := work_dirs/serve
OBJECTS ?= ssd_mbv1_0.75_tf_bccd
FACE_DETECTOR ?= $(if $(wildcard $(RETINAFACE)),$(RETINAFACE),auto)
PORT ?= 8000

.PHONY: help install demo faces photos serve test test-executorch fuzz bench docs docs-long lint format clean
.DELETE_ON_ERROR:

help:
	@echo 'make install  virtual environment in $(VENV) with everything the demo and the tests need'
	@echo 'make demo     draw data, train SSD, evaluate it, write pictures: less than ten minutes on two cores'
	@echo 'make faces    find, group and search the faces of photographs: PHOTOS=FOLDER, by default of the shared data'
	@echo 'make serve    the page: a detector (OBJECTS=NAME), and a gallery of faces in $(SERVED); more options: SERVE=--keep-thumbnails'
	@echo 'make test     the tests'
	@echo 'make fuzz     10,000 wrong requests to a service: a few minutes'
	@echo 'make test-executorch  the tests of --to executorch, in an environment of their own'
	@echo 'make bench    speed, beside other projects: about ten minutes; BENCH="--photos DIR --faces DIR --tflite FILE"'
	@echo 'make docs     the documentation as a site in build/site'
	@echo 'make docs-long  run every command of the documentation, the long ones too'
	@echo 'make lint     ruff, mypy, the import contract and spelling'
	@echo 'make format   format the code'
	@echo 'make clean    remove the environment, the demo data and its results'

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

data/demo/annotations/val.json: | $(READY)
	$(RUN) tools/make_demo_data.py --out-dir data/demo

$(DEMO)/done: $(CONFIG) | $(READY) data/demo/annotations/val.json
	$(RUN) tools/train.py $(CONFIG) --resume --work-dir $(DEMO)
	@touch $@

demo: $(DEMO)/done
	$(RUN) tools/test.py $(CONFIG) $(DEMO)/epoch_20.pth --work-dir $(DEMO) --out-dir $(DEMO)/pictures
	@echo
	@echo 'Loss and mAP:                           $(DEMO)/curves.png'
	@echo 'Annotated (left) and detected (right):  $(DEMO)/pictures/'
	@echo 'Trained weights:                        $(DEMO)/epoch_20.pth'

photos:
	@test -d '$(PHOTOS)' || { echo 'make faces: $(PHOTOS): no such folder; make faces PHOTOS=FOLDER takes yours'; exit 2; }

$(FACES)/retinaface.onnx: | $(READY)
	$(RUN) -m mbv1_backbone weights import $(RETINAFACE) --out $(FACES)/retinaface.safetensors >/dev/null
	$(RUN) -m mbv1_backbone export configs/face/retinaface_mbv1_0.25.py $(FACES)/retinaface.safetensors \
		--to onnx --out $@ --images '$(PHOTOS)' --num 4

faces: | photos $(READY) $(filter $(FACES)/%,$(DETECTOR))
	rm -rf $(FACES)/gallery $(FACES)/groups
	$(GALLERY) build $(FACES)/gallery '$(PHOTOS)' --unnamed --min-quality 0.1 \
		--model $(EMBEDDER) --detector $(DETECTOR)
	$(GALLERY) cluster $(FACES)/gallery --out-dir $(FACES)/groups
	$(GALLERY) calibrate $(FACES)/gallery --fpir 0.05 \
		|| echo 'No threshold: the search shows the nearest faces, whoever they are'
	$(GALLERY) search $(FACES)/gallery '$(PHOTOS)' --num 12 --policy all --top 4 --out $(FACES)/search.png \
		--model $(EMBEDDER) --detector $(DETECTOR)
	@echo
	@echo 'Groups, the largest first:  $(FACES)/groups/overview.png'
	@echo 'All faces of each:          $(FACES)/groups/group-*.png'
	@echo 'Whom others are like:       $(FACES)/search.png'
	@echo 'To name one:                mbv1 gallery rename $(FACES)/gallery GROUP NAME'

serve: | $(READY)
	@mkdir -p $(SERVED)
	$(RUN) -m mbv1_backbone serve --detector $(OBJECTS) --model $(EMBEDDER) --face-detector $(FACE_DETECTOR) \
		--faces $(SERVED)/gallery --create --port $(PORT) --open $(SERVE)

test: $(READY)
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

fuzz: $(READY)
	MBV1_FUZZ=10000 $(RUN) -m pytest -s tests/server/test_fuzz.py -k process

# ExecuTorch pins releases of pytest and scikit-learn that are not the tests': it lies over their environment.
test-executorch: $(READY)
	$(PYTHON) -m venv $(EXECUTORCH)
	$(EXECUTORCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		executorch==1.2.0 torchao==0.17.0 ruamel.yaml==0.19.1
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(EXECUTORCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth
	$(EXECUTORCH)/bin/python -m pytest -n 0 tests/export/test_executorch.py

bench: | $(READY) data/demo/annotations/val.json
	$(RUN) tools/benchmark.py all $(BENCH)

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet
	@echo 'The site: build/site/index.html'

docs-long: $(READY)
	MBV1_DOCS_LONG=1 $(RUN) -m pytest tests/docs

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/codespell

format: $(READY)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) data/demo $(DEMO) $(FACES)
