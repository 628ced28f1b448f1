# Every command a user or a developer needs; each sets up .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
# What is installed besides the pipeline: `make setup EXTRAS=test` has all that the whole test suite uses.
EXTRAS ?= dev
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(BIN)/.ready  ## make the environment in .venv

$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup  ## compare ppo, turbo_sft and turbo_kl on this machine (about 13 minutes on 2 cores)
	$(BIN)/gtr demo

test: setup  ## run the tests (about 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not long"

test-long: setup  ## run the long tests: whole sweeps, full disks, browsers (about 10 minutes more)
	$(BIN)/python -m pytest -n auto --dist loadfile -m long

check: setup  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove the environment (runs in .gtr stay)
	rm -rf .venv
