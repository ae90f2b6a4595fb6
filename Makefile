# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNS ?= runs

.PHONY: help install demo test test-slow check format bench clean

help:
	@echo "make demo     fit a topic model on real text with the embedded model and write a report"
	@echo "make test     run the tests"
	@echo "make install  only the virtual environment in .venv, with everything for development"
	@echo "make check    format, lint and types"
	@echo "make bench    speed and memory beside plain baselines, into benchmarks/results"

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.base: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.base
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.dev

demo: .venv/.base
	$(BIN)/moee-topics run quickstart --output $(RUNS)

test: .venv/.dev
	$(BIN)/python -m pytest -q

test-slow: .venv/.dev
	$(BIN)/python -m pytest -q -m slow

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
