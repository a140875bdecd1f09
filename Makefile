# make book [PROFILE=smoke] [DATASET=cifar10]   set up, execute what is stale, render
# make pdf [PROFILE=smoke]                      the same, and all of it as one PDF (needs Chromium)
# make test                                     set up, check, run the tests (about five minutes)
# make test-all                                 the same with every long sweep and every proof
# make faults                                   kill, damage and misuse at random, and print what came
# make mutants                                  which small changes to statements and bounds a check notices
# make licences                                 of the packages in the lock and of the data here

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
OPTIONS := $(if $(PROFILE),--profile $(PROFILE)) $(if $(DATASET),-p dataset "$(DATASET)")

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
LOCKED := requirements.lock requirements-torch.lock pyproject.toml

# Python keeps what it has compiled: workers and kernels, all of which import the package.
export PYTHONDONTWRITEBYTECODE =

.PHONY: book pdf test test-all types pytest faults mutants licences setup

book: setup
	@$(BIN)/geomem book $(OPTIONS)

pdf: setup
	@$(BIN)/geomem book --pdf $(OPTIONS)

# mypy has work for one core and 20 seconds. Its cache is whole before the test that uses it.
test test-all: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j 2 types pytest $(if $(filter test-all,$@),ALL=yes)

types:
	$(BIN)/mypy

# Two workers, a file to each: one builds the book while the other does the rest.
pytest:
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(if $(ALL),-m "")

faults: setup
	$(BIN)/pytest -n 0 -m "" tests/test_faults.py

mutants: setup
	$(BIN)/python tests/mutants

licences: setup
	@$(BIN)/python .ci/licences

# Two pips at once, one for torch, the largest; what that needs besides (on a GPU's machine) comes
# after. pip would compile 12,000 files on one core; here all cores do, but for tests, which nothing
# imports, and a few files that are for other Pythons.
# Installs again only when the lock (or the package's own metadata) has changed, or when what is
# there does not run, as the environment of a host does not in a container.
setup:
	@$(BIN)/python -c "" 2>/dev/null || rm -rf .venv
	@cat $(LOCKED) | cmp -s - .venv/installed || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "geomem is locked for Python 3.11: make PYTHON=/path/to/python3.11")' && \
	  echo "setting up .venv (about a minute, 1.5 GB)" && \
	  $(PYTHON) -m venv .venv && \
	  printf '%s\n' '-r requirements-torch.lock' '-r requirements.lock --require-hashes' | \
	    xargs -P 2 -L 1 $(PIP) --no-deps && \
	  $(PIP) -r requirements-torch.lock && \
	  $(PIP) --no-deps --no-build-isolation -e . && \
	  { $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true; } && \
	  cat $(LOCKED) > .venv/installed; }
