# Every target sets up what it needs; the only things presumed are Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: compile setup demo serve test check bench bench-peers prices lock clean

setup: compile

# The lock is complete, so nothing is resolved here (--no-deps): a release made later changes no installation.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Farebox needs Python 3.11 or newer: make setup PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The modules on the path of a call run compiled where there is a C compiler; see farebox/native.py.
compile: $(STAMP)
	@$(BIN)/python -m tools.compile_native

demo: setup
	$(BIN)/farebox demo

serve: setup
	$(BIN)/farebox serve

test: check
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

bench-peers: setup
	$(BIN)/python -m bench.peers

# Compiles the price table that ships from the pinned genai-prices and farebox/providers/prices/overlay.
prices: setup
	$(BIN)/python -m tools.compile_prices

# Writes the lock anew from pyproject.toml; review the difference before committing it.
lock:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.8
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra build --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:
	rm -rf $(VENV) build dist
