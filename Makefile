# Everything runs in .venv, which the first target that needs it makes.  A stamp file
# remembers what is installed, so that only a changed pyproject.toml installs again.

PYTHON ?= python3
VENV := .venv
JOBS := 2
DATA := ./data
ARGS :=

BIN := $(VENV)/bin
FOLDERS := store wal snapshot server tools
COMPILED := server/native.pyx server/heap.pyx store/shortcuts.pyx store/slots.pxi
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint types oracle crash bench docs clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(VENV)/.installed ## start the server on ./data; ARGS="--port 7000 --appendfsync always", DATA=folder
	@mkdir -p $(DATA)
	@exec $(BIN)/perdure-server $(ARGS) $(if $(filter --dir,$(ARGS)),,--dir $(DATA))

test: $(VENV)/.installed-test $(VENV)/.installed-arq $(VENV)/.installed-ioredis ## all tests; ARGS="tests/unit -k lock"
	$(PYTEST) -n $(JOBS) --dist worksteal $(ARGS)

lint: $(VENV)/.installed-lint types ## ruff, and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy $(foreach folder,$(FOLDERS),build/typing/perdure/$(folder))

oracle: $(VENV)/.installed-test ## the tests that compare with redis-server 7.0
	PERDURE_ORACLE=required $(PYTEST) -n $(JOBS) --dist worksteal tests/oracle $(ARGS)

crash: $(VENV)/.installed-test ## the long crash sweeps, minutes; FULL=1: hours
	PERDURE_FULL=1 PERDURE_SWEEP=$(if $(FULL),full,1) $(PYTEST) -n $(JOBS) --dist worksteal --timeout=0 tests/crash tests/model $(ARGS)

bench: $(VENV)/.installed ## redis-server and perdure-server side by side
	$(BIN)/python tests/bench/bench.py $(ARGS)

docs: $(VENV)/.installed ## docs/commands.md, made of the command table
	@mkdir -p build docs
	$(BIN)/python -m perdure.server.command_page > build/commands.md
	@mv build/commands.md docs/commands.md

clean: ## remove what was built and installed; ./data stays
	rm -rf $(VENV) tests/clients/ioredis/node_modules build dist perdure.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(FOLDERS) tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The tree is flat and the import name is not: for mypy the folders stand under one name.
types:
	@mkdir -p build/typing/perdure
	@for folder in $(FOLDERS); do ln -sfn ../../../$$folder build/typing/perdure/$$folder; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "perdure needs Python 3.11 or newer; PYTHON=... names one")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(COMPILED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: EXTRAS := test,clients
$(VENV)/.installed-%: pyproject.toml $(COMPILED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(or $(EXTRAS),$*)]'
	@touch $@

# Programs of tests/clients that cannot be installed beside the others: arq wants an older redis-py, ioredis wants node.
$(VENV)/.installed-arq: tests/clients/arq/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/arq
	$(VENV)/arq/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/.installed-ioredis: tests/clients/ioredis/package-lock.json | $(BIN)/python
	@command -v npm >/dev/null || { echo "npm is not installed: ioredis is not tested"; exit 0; }; \
	if npm ci --silent --no-audit --no-fund --prefix $(dir $<); then touch $@; else echo "ioredis is not tested"; fi
