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

# The front end is built and committed, so only those who change it need Node (20.19 or newer).
NODE := $(shell node -e 'const [a, b] = process.versions.node.split("."); process.exit(+(a * 100 + +b < 2019))' \
	>/dev/null 2>&1 && command -v npm)

.PHONY: help setup demo demo-pathways test test-again test-slow check check-code check-web check-infra check-wheel \
	wheel sbom audit web format reference bench ci-like clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python"; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.lean: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing glassbox with the extras serve, charts and pathways"
	@$(PIP) '$(TORCH)' --editable '.[serve,charts,pathways]'
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

demo-pathways: $(VENV)/.lean ## Which latents drive which: a planted chain found and verified
	@$(BIN)/glassbox demo pathways

test test-again test-slow bench: export GLASSBOX_TEST_DATA := $(TEST_DATA)

# What was compiled once is kept, whatever the surroundings say: the tests and their type checker take
# a third less time to be collected, and hundreds of tests start the package anew.
test test-again test-slow: export PYTHONDONTWRITEBYTECODE :=

# Tests also wait: for servers, for other processes, for the disk. One process more than there are
# processors, and at most four, leaves none of these idle meanwhile.
test: $(VENV)/.dev ## Run the tests (set-up included)
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))') \
		--dist loadfile --no-loadscope-reorder

test-again: $(VENV)/.dev ## Run the tests that failed the last time, one after the other
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

test-slow: $(VENV)/.dev ## Run the soaks and long simulations
	$(BIN)/python -m pytest -m slow --timeout=3600

# None of the three needs what another one makes: `make --jobs=2 --output-sync=target check` does two at
# a time, and begins with the front end while the environment is set up.
check: check-code $(if $(NODE),check-web) check-infra ## Format, lint, types, imports, front end, infra
ifndef NODE
	@echo "Node 20.19 or newer is not here: the front end (web/) is not checked"
endif

check-code: $(VENV)/.dev ## Format, lint, types and imports of the Python code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-infra: $(VENV)/.dev ## Terraform, Docker, compose, systemd, wheel, SBOM, audit; says what it skips
	@$(BIN)/python -m recipes.infra

wheel: $(VENV)/.dev ## Build dist/glassbox_llm-*.whl: the same sources, the same bytes
	@$(BIN)/python -m recipes.infra.wheels build dist

check-wheel: $(VENV)/.dev ## Install the wheel into empty environments and use it: the client, then the demo
	@$(BIN)/python -m recipes.infra.wheels check

sbom: $(VENV)/.dev ## List what the package is made of, in build/sbom (CycloneDX)
	@$(BIN)/python -m recipes.infra --only sbom

audit: $(VENV)/.dev ## Look up known vulnerabilities of everything that is pinned
	@$(BIN)/python -m recipes.infra --only audit-python audit-web

web/node_modules/.package-lock.json: web/package-lock.json web/package.json web/dashboard/package.json \
		web/sdk/package.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

check-web: web/node_modules/.package-lock.json ## Format, lint, types and tests of the front end
	cd web && npm run --silent check && npm test --silent
	cd web && npm run --silent --workspace dashboard types -- --check
	@cd web && npm run --silent --workspace dashboard build -- --outDir ../../build/web --logLevel warn \
		&& diff -r ../build/web ../src/glassbox/assets/web \
		|| { echo "src/glassbox/assets/web is older than web/: run make web"; exit 1; }

web: $(VENV)/.dev web/node_modules/.package-lock.json ## Build the front end into the package
	$(BIN)/python -m glassbox.server.openapi web/openapi.json
	cd web && npm run --silent types && npm run --silent build

format: $(VENV)/.dev ## Format and sort imports in place
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.dev ## Write the generated pages of docs/reference anew
	$(BIN)/python -m glassbox.cli.reference docs/reference

bench: $(VENV)/.bench ## Run the benchmarks against their baselines
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.consistency
	$(BIN)/python -m benchmarks.busy_cores
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.products
	$(BIN)/python -m benchmarks.adapters
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.memory --lines 1000 20000
	$(BIN)/python -m benchmarks.techniques
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.replay
	$(BIN)/python -m benchmarks.tokens
	$(BIN)/python -m benchmarks.pathway_memory
	$(BIN)/python -m benchmarks.many_adapters
	$(BIN)/python -m benchmarks.simulator
	$(BIN)/python -m benchmarks.deploy_plan
	$(BIN)/python -m benchmarks.ray_serve
	$(BIN)/python -m benchmarks.audit
	$(BIN)/python -m benchmarks.shadow
	$(BIN)/python -m benchmarks.rollouts
	$(BIN)/python -m benchmarks.drift

ci-like: ## Run .ci/run in a fresh clone of the last commit
	@folder=$$(mktemp -d) && git clone --quiet . "$$folder/glassbox" \
		&& GLASSBOX_TEST_DATA='$(TEST_DATA)' CI=true bash "$$folder/glassbox/.ci/run"; \
		code=$$?; rm -rf "$$folder"; exit $$code

clean: ## Remove .venv and the caches of the tools
	rm -rf $(VENV) web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
