# lpla: every target sets up what it needs; the environment is made once, in .venv.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
# Many processes of a suite read the same modules: compiled once and kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup audit test test-all test-slurm check bench docs

help:  ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv with the tested versions (once; about 6 GB)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lpla needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

audit: $(READY)  ## audit the default encoder on embedded data by every attack (a few minutes on 2 cores)
	$(RUN) run.py attack=all

test: $(READY)  ## run what a change must pass (5 minutes on 2 idle cores)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile -m "not slow and not browser and not slurm"

test-all: test  ## also the rest: faults, several ranks, executors, long sweeps, a browser and, where it can be, Slurm
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "slow and parallel"
	$(RUN) -m pytest -m "(slow and not parallel) or browser"
	@if tests/slurm/one_node.sh --check; then timeout 900 $(MAKE) test-slurm; else echo "make test-slurm is skipped"; fi

test-slurm: $(READY)  ## audit by the jobs of a real Slurm of one node (as root; Debian's slurm-wlm and munge)
	OMP_NUM_THREADS=1 PYTHONPATH=tests:$$PYTHONPATH tests/slurm/one_node.sh $(RUN) -m pytest tests/slurm

check: $(READY)  ## lint, format, types, the layers and the configuration contract
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/basedpyright
	$(RUN) -m pytest -q tests/test_layers.py tests/test_conf.py

reproduce-%: $(READY)  ## run or resume, and render, an experiment: table3, tradeoff, limits, size, scale, defences (SIZE=small|medium; ARGS="data.root=PATH")
	$(RUN) -m experiments.$* $(if $(SIZE),experiment=$*_$(SIZE)) $(ARGS)

bench: $(READY)  ## measure: ours, lightly's path and the limit, side by side (minutes)
	$(RUN) -m benchmarks

docs: $(READY)  ## build the documentation into site/, warnings as errors
	$(RUN) -m mkdocs build --strict
