# Everything that a newcomer needs: `make demo` and `make test`. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Real images to read as well, where a copy lies beside the checkout; none is ever trained on.
REAL ?= $(foreach name,nih_chestxray14 kermany_pediatric,$(addprefix --real $(name)=,$(wildcard ../shared/data/$(name))))

.PHONY: help install demo test space

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(STAMP) ## Build .venv with pinned versions

$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "synthcxr needs Python 3.11 or newer.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint .ci/constraints.txt pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint .ci/constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint .ci/constraints.txt --editable '.[demo,dicom,dev]'
	touch $(STAMP)

demo: install ## Simulate, pretrain, evaluate and write the cards
	HF_HUB_OFFLINE=1 $(BIN)/synthcxr demo --output-dir demo_output $(REAL)

test: install ## Run every test, and what measures speed alone
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/benchmarks
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/benchmarks

space: install ## Serve the demo on localhost
	HF_HUB_OFFLINE=1 $(BIN)/python spaces/synthcxr-demo/app.py
