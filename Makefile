# Everything a developer or a newcomer needs. `make run` is all it takes to have a hub.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := opencodehub graph resolvers services gitstore models storage_adapters gitserve sshd
ARGS ?=

# Stamps: what they stand for is done again only when a file it depends on has changed.
RUN_READY := $(VENV)/.ready-to-run
DEV_READY := $(VENV)/.ready-to-develop
NPM := tests/npm
NPM_READY := $(NPM)/node_modules/.ready

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run migrate test lint format bench schema lock clean help

help:
	@echo "make run      install what is needed and serve (ARGS='--port 9000' are handed on)"
	@echo "make test     all checks and tests; installs missing Debian packages when root"
	@echo "make lint     formatting, linting, types, direction of imports"
	@echo "make format   format the code"
	@echo "make bench    measure the hub against plain git (ARGS=--quick for a trial)"
	@echo "make schema   write graph/schema.graphql anew"
	@echo "make migrate  bring the database in ./data up to date"
	@echo "make lock     write the lock files anew (needs uv)"
	@echo "make clean    remove .venv and caches; ./data stays"

# The hub ends with make, even where make is killed.
run: export OCH_INTERNAL_STOP_WITH_PARENT := 1
run: $(RUN_READY)
	@$(BIN)/och serve $(ARGS)

migrate: $(RUN_READY)
	@$(BIN)/och migrate $(ARGS)

test: $(DEV_READY)
	@sh .ci/debian-packages
	@$(MAKE) --no-print-directory $(NPM_READY)
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(DEV_READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(DEV_READY)
	@sh .ci/debian-packages bench
	$(BIN)/python -m bench.run $(ARGS)

schema: $(RUN_READY)
	@$(BIN)/och schema > graph/schema.graphql.new
	@mv graph/schema.graphql.new graph/schema.graphql

# No index's address and no path of this machine may end up in the lock files.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-config \
	  --no-header --no-emit-index-url --no-emit-find-links --upgrade \
	  pyproject.toml requirements.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-config \
	  --no-header --no-emit-index-url --no-emit-find-links --upgrade --extra dev \
	  -c requirements.lock pyproject.toml requirements.in -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf $(NPM)/node_modules

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "make: $(PYTHON) is not installed; install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is $$($(PYTHON) -V); 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: Python's venv is missing; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The build backend comes from the lock file too, so the build needs nothing else.
$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what OpenCodeHub needs into $(VENV) ..."
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_READY): requirements-dev.lock $(RUN_READY) | $(BIN)/python
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# What tests need from npm: a foreign git client, GitHub's schema to compare ours with. Without npm
# they are skipped, so that is no failure here.
$(NPM_READY): $(NPM)/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "installing what tests need into $(NPM) ..." && \
	  npm ci --prefix $(NPM) --loglevel=error --ignore-scripts --no-audit --no-fund && touch $@; \
	fi
