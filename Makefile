# Every target does its own set-up: the virtual environment, and the packages as locked, with their hashes.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
DATA := $(or $(CLOUDPHONE_DATA),.cloudphone)
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))

.PHONY: help up down reset test test-nightly check bench migrate setup setup-dev setup-bench lock

help: ## Explain the targets
	@echo "Cloudphone: make <target>"
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15
	@echo
	@echo "Data is kept in $(DATA) (CLOUDPHONE_DATA); ports begin at $(or $(CLOUDPHONE_PORT_BASE),30000) (CLOUDPHONE_PORT_BASE)."
	@echo "More commands once installed: $(BIN)/cloudphone --help"

up: setup ## Run the whole platform on this machine, until Ctrl-C
	@exec $(BIN)/cloudphone up $(ARGS)

down: setup ## Stop what `make up` started; the data is kept
	@$(BIN)/cloudphone down

reset: setup ## Stop it and delete its data, for good
	@$(BIN)/cloudphone down --erase

migrate: setup ## Bring the databases of a running `make up` (or those set by URL) to the newest tables
	@$(BIN)/cloudphone migrate

test: setup-dev ## Run the tests on real servers, in two processes; ARGS="tests/cache -k feed" for some, in one
	@$(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadgroup)

test-nightly: setup-dev ## The same with many more examples of what must hold for any input
	@CLOUDPHONE_TEST_PROFILE=nightly $(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadgroup)

check: setup-dev ## Lint, format, types (strict) and the import rules
	@status=0; for check in "ruff check ." "ruff format --check ." pyright lint-imports; do \
		PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/$$check || status=1; \
	done; exit $$status

bench: setup-bench ## Measure speed (ten minutes), into build/bench.json and docs/performance.md; ARGS="--help"
	@$(BIN)/python -m tests.bench $(ARGS)

setup: $(VENV)/installed ## Install what running needs (the other targets do this first)

setup-dev: $(VENV)/installed-dev ## Install what testing and checking need (likewise)

setup-bench: $(VENV)/installed-bench ## Install what the benchmark needs beside (likewise)

lock: ## Write the locks anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --group build $(LOCKED) -o requirements.lock.txt
	@uv pip compile pyproject.toml --group dev $(LOCKED) -o requirements-dev.lock.txt
	@uv pip compile pyproject.toml --group bench $(LOCKED) -c requirements-dev.lock.txt -o requirements-bench.lock.txt

LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all:
OURSELVES := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Cloudphone needs Python 3.11 or newer, and python3 is $$(python3 -V 2>&1): install a newer one, or name it with \`make PYTHON=/path/to/python\`." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (on Debian: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.lock.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked packages into $(VENV) …"
	@$(PIP) -r requirements.lock.txt
	@$(OURSELVES)
	@$(BIN)/python -m compileall -q bff-admin bff-user cache core-services deploy phone shared
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock.txt $(VENV)/installed
	@echo "Installing the locked packages for tests and checks …"
	@$(PIP) -r requirements-dev.lock.txt
	@touch $@

$(VENV)/installed-bench: requirements-bench.lock.txt $(VENV)/installed-dev
	@echo "Installing the locked packages for the benchmark …"
	@$(PIP) -r requirements-bench.lock.txt
	@touch $@
