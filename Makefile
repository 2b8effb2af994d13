# Every target sets up all it needs; Python 3.10+ and make are enough to begin with.
# PYTHON=/path/to/python3 chooses the interpreter that .venv is made with.
.PHONY: help setup core all demo test test-all check format docs bench soak pins clean
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
JOBS ?= 2

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

setup:  ## make .venv: studio, editable, with all that demo, tests and checks need
	@scripts/venv.sh .venv -r requirements.txt -e .

core:  # an environment with the core alone, for the part of the tests that runs in it
	@scripts/venv.sh .venv-core -c requirements.txt -e .

all:  # an environment with every library that some test asks for: PyTorch and what depends on it too
	@scripts/venv.sh .venv-all -r requirements.txt -r requirements-all.txt -e .

demo: setup  ## train a Keras model with `studio run`, serve it, ask it for answers
	@$(BIN)/studio demo

test: setup core  ## all tests but the long ones
	@STUDIO_CORE_PYTHON=$(CURDIR)/.venv-core/bin/python $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-all: all core  ## the same, with the tests that need PyTorch and other large libraries
	@STUDIO_CORE_PYTHON=$(CURDIR)/.venv-core/bin/python .venv-all/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: setup  ## lint, format, types, floors, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/mkdocs build --strict --quiet

format: setup  ## put every file into the house's form
	@$(BIN)/python scripts/cli_reference.py
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: setup  ## build the documentation into site/
	@$(BIN)/python scripts/cli_reference.py
	@$(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

bench: setup  ## run every benchmark; ratios against references measured in the same run
	@for file in benchmarks/*.py; do \
	    [ -e "$$file" ] || { echo "no benchmarks"; break; }; \
	    echo "== $$file"; $(BIN)/python "$$file" || exit 1; \
	done

soak: setup core  ## the long runs of the same tests
	@STUDIO_CORE_PYTHON=$(CURDIR)/.venv-core/bin/python $(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

pins: setup  # requirements.txt anew, from clean environments of each Python named
	@$(BIN)/python scripts/pin_requirements.py $(PYTHONS)

clean:  ## remove the environments and everything that was built
	rm -rf .venv .venv-core .venv-all build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
