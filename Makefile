# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Assumed: Python >= 3.11 with venv, a C++ compiler, make.

PYTHON ?= python3
ACCEL ?= cpu
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(ACCEL)
EDGE := .venv-edge
JOBS ?= 2

# llama.cpp's back end by accelerator; its image support is not built, nothing here uses it.
CMAKE_cpu := -DLLAVA_BUILD=OFF
CMAKE_cuda := -DLLAVA_BUILD=OFF -DGGML_CUDA=on
CMAKE_metal := -DLLAVA_BUILD=OFF -DGGML_METAL=on
CMAKE_vulkan := -DLLAVA_BUILD=OFF -DGGML_VULKAN=on
CMAKE_FLAGS := $(CMAKE_$(ACCEL)) $(CMAKE_ARGS)

# Tiny matrices lose time to a second OpenMP thread; tests run beside each other instead.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup

.PHONY: install edge demo test test-all check screenshots clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(CMAKE_$(ACCEL))" || { echo "make: ACCEL=$(ACCEL) is none of cpu, cuda, metal, vulkan" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	CMAKE_ARGS="$(CMAKE_FLAGS)" $(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	rm -f $(VENV)/.installed-*
	touch $@

edge:
	test -x $(EDGE)/bin/python || $(PYTHON) -m venv $(EDGE)
	CMAKE_ARGS="$(CMAKE_FLAGS)" $(EDGE)/bin/pip install --quiet --constraint constraints.txt ".[edge]"

demo: install
	$(BIN)/python examples/demo/run.py out/demo $(DEMO_FLAGS)

test: install
	$(TEST) -m "not slow and not shared and not gpu"

test-all: install
	$(TEST) -m "not gpu"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/contract

screenshots: install
	$(BIN)/python -m tests.tui.screenshots docs/images

clean:
	rm -rf $(VENV) $(EDGE) out build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
