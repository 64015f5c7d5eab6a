# `make demo` and `make test` are all a fresh machine needs (python3.11 and make).
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# One assignment a line: GNU make folds several into one value.
export UV_SYSTEM_CERTS = 1
export UV_LINK_MODE ?= hardlink
export NO_ALBUMENTATIONS_UPDATE = 1
export YOLO_OFFLINE = true
export YOLO_AUTOINSTALL = false
export YOLO_CONFIG_DIR ?= $(CURDIR)/.venv/ultralytics
export ORT_DISABLE_TELEMETRY = 1
export WANDB_MODE ?= offline
export WANDB_ERROR_REPORTING = false
export HYDRA_FULL_ERROR ?= 0

.PHONY: help setup demo test test-slow test-gpu check lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | column -t -s $$'\t'

setup: $(VENV)/.installed  ## Create .venv and install the pinned set

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or pass PYTHON=/path/to/python3.11"; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	echo "setup: installing the pinned packages into $(VENV) (about 5.7 GB, 1-3 minutes with an empty cache)"
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet -c constraints.txt -e '.[dev,onnx]'
	touch $@

demo: setup  ## Do the whole job once, small and offline; writes runs/demo/report.html
	@$(BIN)/lp-demo

test: setup  ## Run the fast tests (no GPU, no network, no downloads)
	@$(BIN)/python -m pytest -n 2

test-slow: setup  ## Run every test that this machine can run
	@$(BIN)/python -m pytest -m "not gpu and not network and not weights"

test-gpu: setup  ## Run the tests that need a GPU
	@$(BIN)/python -m pytest -m gpu

check: setup  ## Format, lint, types, import contracts, tests: what a change must pass
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2

lock: setup  ## Resolve constraints.txt again from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml -o constraints.txt

clean:  ## Remove runs and caches; keep .venv
	@rm -rf runs .pytest_cache .ruff_cache outputs
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
