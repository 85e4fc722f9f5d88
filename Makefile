# make lab    installs thplab in .venv and opens JupyterLab in the notebooks folder
# make check  installs what the tests need, then lints, type checks and runs the graded tests: the few that find most faults
# make test   the same with all tests
# make sweep  the same with every case of the sweeps, of which make test runs a part
# make mutants breaks the kernel in some places, and tells how much of it the graded tests find
# make fuzz   feeds everything that takes input with wrong and right input, for HOURS=1
# make assets draws the figures of the notebooks
# make lectures writes the notebooks of the lectures and their pages for the instructor
# make docs   writes the API reference to build/reference
# make site   builds the public site in build/site: lessons, lectures, exercises, kernels, races, documents, reference
# make release builds sdist and wheel in dist, and tries the wheel and the sdist in each Python of PYTHONS="python3.11 python3.12"
# make picture draws the moving picture of the README (needs Chromium)
# make clean  removes .venv and all caches
#
# PYTHON=python3.12         the Python that .venv is made from (3.11 or newer)
# ARGS="--no-browser"       more arguments for JupyterLab (make lab), pytest (make check, make test, make sweep), benchmarks/mutants.py (make mutants) or the fuzzer (make fuzz)
# WORKERS=2                 how many tests run at the same time (make check, make test)
# CHROMIUM=/path/to/chrome  the browser of the tests, where none is on PATH

PYTHON ?= python3
ARGS ?=
WORKERS ?= 2
HOURS ?= 1
PYTHONS ?= $(BIN)/python
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

ifdef CHROMIUM
export CHROMIUM
endif

# The graded tests: see CONTRIBUTING.md.
GRADED := $(patsubst %,tests/test_%.py,kernel_rules machine memory costs compare tail_pinning swap callers routines madvise memory_failure \
	recorded_rules rfc_sentences verify scenario trace project truth invariants verify_steps)
NOT_SLOW := -m 'not slow'

# A worker that dies is not replaced: with one in its place pytest-xdist 3.8 waits for ever at the end.
PYTEST = $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --max-worker-restart=0

.PHONY: help lab test sweep check lint mutants fuzz docs site release picture chromium assets lectures clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

lab: $(VENV)/.has-thplab
	$(BIN)/thplab lab -- $(ARGS)

test: lint chromium
	$(PYTEST) tests $(ARGS)

sweep: export THPLAB_SWEEP = 1
sweep: test

check: lint
	$(PYTEST) $(NOT_SLOW) $(GRADED) $(ARGS)

lint: $(VENV)/.has-tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	@.ci/types

mutants: $(VENV)/.has-tests
	$(BIN)/python benchmarks/mutants.py $(ARGS) -- $(NOT_SLOW) $(GRADED)

fuzz: $(VENV)/.has-tests
	PYTHONPATH=tests $(BIN)/python -m fuzz --hours $(HOURS) $(ARGS)

docs: $(VENV)/.has-tests
	$(BIN)/python .ci/reference.py build/reference

site: $(VENV)/.has-tests
	rm -rf build/site
	PYTHONPATH=.ci $(BIN)/python -m website build/site

release: $(VENV)/.has-tests
	$(BIN)/python .ci/release.py $(PYTHONS)

picture: $(VENV)/.has-tests chromium
	PYTHONPATH=tests $(BIN)/python .ci/moving_picture.py assets/stepper.webp

chromium:
	@.ci/chromium

assets: $(VENV)/.has-thplab
	$(BIN)/python -m thplab.learn.lessons.figures assets

lectures: $(VENV)/.has-thplab
	$(BIN)/python -m thplab.learn.lectures.notes notebooks

clean:
	rm -rf $(VENV) .ci/node_modules dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each is newer than pyproject.toml once the step is done, so that a second run has nothing to do.
# The first one is an order-only prerequisite: installing must not make the environment look older than its stamps.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'thplab needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.has-thplab: pyproject.toml | $(VENV)/.made
	$(PIP) --editable .
	@touch $@

$(VENV)/.has-tests: pyproject.toml | $(VENV)/.made
	$(PIP) --editable '.[test]'
	@touch $(VENV)/.has-thplab $@
