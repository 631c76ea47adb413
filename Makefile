# Every target sets itself up in .venv: all it needs is Python 3.11 or newer, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-chroma test test-slow check examples wheel clean

demo: $(READY)
	$(BIN)/vecmigrate demo

demo-chroma: $(READY)
	$(BIN)/vecmigrate demo --store chroma

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing/api.py
	$(BIN)/lint-imports

examples: $(READY)
	$(BIN)/python -m pytest -q tests/acceptance/test_examples.py

wheel: $(READY)
	$(BIN)/python -m build --outdir dist .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
