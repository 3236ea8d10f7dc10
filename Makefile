# `make help` lists the targets. PYTHON is the interpreter the environment is made from (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: help install demo test nightly check docs notebooks format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv and install the package with its pinned dependencies

# Made again only when a file that says what to install has changed.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unimatch needs Python 3.11 or newer, and this is %s: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Side by side with one thread each: such small models gain nothing from a second one.
demo: install ## train UniMatch V2 and labelled-only on the embedded data, and compare them
	@mkdir -p $(DEMO)
	@echo "labelled-only trains beside it; its output is in $(DEMO)/supervised.txt"
	export OMP_NUM_THREADS=1; \
	$(BIN)/python -m unimatch.run method=supervised overwrite=true hydra.run.dir=$(DEMO)/supervised > $(DEMO)/supervised.txt 2>&1 & baseline=$$!; \
	$(BIN)/python -m unimatch.run method=unimatch_v2 overwrite=true hydra.run.dir=$(DEMO)/unimatch_v2 && wait $$baseline
	$(BIN)/python -m unimatch.compare $(DEMO)

test: install ## run the test suite, in six to thirteen minutes on two cores
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=15

nightly: install ## run the test suite and every further case, such as all encoders and experiments
	env -u PYTHONDONTWRITEBYTECODE UNIMATCH_FUZZ=4 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m ""

check: install ## lint, types, layers and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

# The warning that is turned off is about mkdocs 2, which Material for MkDocs does not use.
docs: install ## build the documentation site in site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: install ## run the notebooks and keep their outputs
	OMP_NUM_THREADS=1 $(BIN)/python notebooks/execute.py notebooks/*.ipynb

format: install ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and what was built
	rm -rf $(VENV) build dist site src/*.egg-info
