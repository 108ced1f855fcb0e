# Each target creates .venv and installs what it needs, so that any of them may be the first command on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-cluster lint gpu-check docs matrix release clean

demo: $(VENV)/.installed
	@mkdir -p .demo
	cd .demo && ../$(BIN)/batch-size grid digits --batch-sizes 8,32,128,512 --seeds 3
	@echo "(from here: cd .demo && ../$(BIN)/batch-size ui digits-grid)"

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.installed-test
	TESTS=all $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Ray is 70 MB to download, and its tests take two minutes: `make test` runs them where it is installed.
test-cluster: $(VENV)/.installed-ray
	$(BIN)/python -m pytest tests/tuning/run/test_ray_executor.py tests/tuning/run/test_ray_cluster.py

gpu-check: $(VENV)/.installed-gpu
	$(BIN)/python -m tuning.gpu_check --json gpu-check.json

# Warnings are errors there: pages that no menu has, links and headings that do not exist, names without a docstring.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "(the first page is site/index.html)"

# Environments of other versions are made in .matrix; minutes for each set of versions.
matrix:
	$(PYTHON) versions/matrix.py

# Builds dist/ and tries the wheel in a new environment; uploads nothing.
release: $(VENV)/.installed-release
	$(BIN)/python tools/release.py $(REPOSITORY)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-ray: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,ray]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-gpu: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[gpu]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-release: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .demo .matrix site dist
