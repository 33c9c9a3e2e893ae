# `make` alone prints what can be made. Everything here works from a fresh clone with Python 3.11, make and git.

PYTHON ?= python3
BIN := .venv/bin
COUNT ?= 20
TASKS ?= 300
CASES ?= 20000
PATHS := core api operator peon-image cli images tests

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-fast test-cluster cluster-programs cluster images lint format docs bench chaos fuzz clean

help: ## print this
	@echo "Nemeton. The first two to know: make demo, make test."
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: .venv/.complete ## a virtual environment with everything, exactly as uv.lock says

.venv/.complete: pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv sync --frozen --inexact --all-extras --compile-bytecode --quiet
	@touch $@

demo: setup ## start everything, load a day of Wikipedia edits, show the segments, stop (under 30 s)
	@$(BIN)/python -m nemeton.demo

up: setup ## start everything and keep it running
	@$(BIN)/nemeton up

test: setup ## every ring of tests that this machine has the programs for
	$(BIN)/python -m pytest

test-fast: setup ## the unit tests alone: no server, under a minute
	$(BIN)/python -m pytest tests/unit

test-cluster: cluster-programs ## the rings on a real Kubernetes: a control plane alone, then a node with pods (root)
	$(BIN)/python -m pytest tests/cluster tests/node tests/chart

cluster-programs: setup ## build Kubernetes, CoreDNS and Helm for the tests, once a machine and version
	@$(BIN)/python -m tests.support.cluster.binaries $(PROGRAMS)

cluster: cluster-programs ## a Kubernetes of one node with our images, to try the chart on, until Ctrl-C (root)
	@$(BIN)/python -m tests.support.cluster node overlord operator trial peon

images: setup ## build our images by buildah, as the tests load them (root)
	@$(BIN)/python -m tests.support.cluster.images

lint: setup ## ruff, pyright strict, import contracts, and the lock file fits pyproject.toml
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/uv lock --check

format: setup ## put the code into its form
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

docs: setup ## write what is made of code and tests: the table of endpoints, the settings that the chart knows
	$(BIN)/python -m tests.support.compatibility
	$(BIN)/python -m tests.chart.write_schema

bench: setup ## measure against Apache Druid (docs/benchmarks.md says what and how)
	$(BIN)/python -m tests.bench

chaos: setup ## kill parts at random moments: COUNT=20 times each here, over TASKS=300 tasks on a node of Kubernetes
	$(BIN)/python -m pytest tests/e2e -m chaos --kills $(COUNT) --capture no
	$(BIN)/python -m pytest tests/chaos -m chaos --tasks $(TASKS) --capture no

fuzz: setup ## call the API as its description says, and as it does not, CASES=20000 times
	$(BIN)/python -m pytest tests/clients/test_every_answer_is_described.py --cases $(CASES) --capture no

clean: ## the environment, caches and the demo's data
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis nemeton-data
