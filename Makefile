# One environment, `.venv` in the checkout; every target sets up what it needs.
# PYTHON=python3.12 make setup   chooses the interpreter (3.11 or newer).

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# torch is asked for by its exact version in the same breath: a constraint alone would let the
# resolver look at every newer build first.
TORCH := $(shell grep '^torch==' constraints.txt)

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# Real data for tests lies beside the checkout where there is any; tests that need it skip otherwise.
TEST_DATA := $(if $(GLASSBOX_TEST_DATA),$(GLASSBOX_TEST_DATA),$(abspath $(wildcard ../shared/data)))

.PHONY: help setup demo test test-slow check format reference bench ci-like clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python"; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.lean: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing glassbox with the extras serve and charts"
	@$(PIP) '$(TORCH)' --editable '.[serve,charts]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing glassbox with the extra dev"
	@$(PIP) '$(TORCH)' --editable '.[dev]'
	@touch $@ $(VENV)/.lean

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing glassbox with the extras dev and bench"
	@$(PIP) '$(TORCH)' --editable '.[dev,bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.lean

setup: $(VENV)/.dev ## Install everything a developer needs into .venv

demo: $(VENV)/.lean ## Run the main job on the embedded model and data
	@$(BIN)/glassbox demo

test test-slow bench: export GLASSBOX_TEST_DATA := $(TEST_DATA)

test: $(VENV)/.dev ## Run the tests (set-up included)
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev ## Run the soaks and long simulations
	$(BIN)/python -m pytest -m slow --timeout=3600

check: $(VENV)/.dev ## Format, lint, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format and sort imports in place
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.dev ## Write the generated pages of docs/reference anew
	$(BIN)/python -m glassbox.cli.reference docs/reference

bench: $(VENV)/.bench ## Run the benchmarks against their baselines
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.consistency
	$(BIN)/python -m benchmarks.memory --lines 1000 20000

ci-like: ## Run .ci/run in a fresh clone of the last commit
	@folder=$$(mktemp -d) && git clone --quiet . "$$folder/glassbox" \
		&& GLASSBOX_TEST_DATA='$(TEST_DATA)' CI=true bash "$$folder/glassbox/.ci/run"; \
		code=$$?; rm -rf "$$folder"; exit $$code

clean: ## Remove .venv and the caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
