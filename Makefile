# The tools of a developer's machine without the Science Pipelines. Everything
# goes into .venv; `make PYTHON=/path/to/python3` chooses the interpreter.

DIR ?= demo
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
INSTALLED := $(VENV)/.installed

# Python 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 cannot seek in zip files: any other
# one is preferred. Candidates are run, not only looked for: a shim may exist
# and yet fail.
SOUND := (3, 12, 9) <= sys.version_info < (3, 13) or sys.version_info >= (3, 13, 2)
PYTHON = $(shell for wanted in '$(SOUND)' 'sys.version_info >= (3, 12)'; do \
	for python in python3.13 python3.12 python3 "$$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3; do \
	if "$$python" -c "import sys; sys.exit(not ($$wanted))" 2>/dev/null; then \
	echo "$$python"; exit; fi; done; done)

UNREACHABLE := echo "pip could not install what bgqa needs from PyPI (see above); is PyPI reachable from here?" >&2; exit 1

.PHONY: help demo docs test test-all lint format types bench bench-power bench-scale bench-resources scons wheel clean

help:
	@echo "make demo [DIR=demo]  run the pipeline on a simulated survey, print what is wrong with it"
	@echo "make docs             build the documentation in doc/_build/html"
	@echo "make test             run the tests that are fast (4 minutes on 2 cores)"
	@echo "make test-all         run all tests (20 minutes on 2 cores)"
	@echo "make lint types       check style and types"
	@echo "make format           put the code in style"
	@echo "make bench            measure how fast it is; ratios are what to look at"
	@echo "make bench-power      count the faults that are found in campaigns where they are known"
	@echo "make bench-resources  measure what batch jobs need (half an hour)"
	@echo "make bench-scale      measure what campaigns cost, up to a million rows (40 minutes)"
	@echo "make scons [TESTS=..] build and test as EUPS packages are; all tests, or some files of tests/"
	@echo "make wheel            build a wheel in dist/"
	@echo "make clean            remove what make made, but for the demo"
	@echo "What they need is installed once: .venv is 1.1 GB for the demo, 1.5 GB with what tests need, 1.9 GB with all."

demo: $(RUNS)
	@$(BIN)/bgqa demo $(DIR)

# The notebook in it shows the demo.
docs: $(VENV)/.docs demo/report/index.html
	@rm -rf doc/_build doc/api doc/lsst.bgqa/tasks
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet doc doc/_build/html
	@echo "Documentation: doc/_build/html/index.html"

demo/report/index.html: | $(INSTALLED)
	@$(BIN)/bgqa demo demo

test: $(INSTALLED)
	$(BIN)/pytest -n 2

test-all: $(INSTALLED)
	$(BIN)/pytest -n 2 -m "slow or not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	$(BIN)/mypy python
	$(BIN)/mypy --disable-error-code union-attr --disable-error-code misc tests benchmarks

bench: $(INSTALLED)
	@$(BIN)/python benchmarks/bench.py --json bench.json

bench-power: $(INSTALLED)
	@$(BIN)/python benchmarks/power.py

bench-resources: $(INSTALLED)
	@$(BIN)/python benchmarks/resources.py --json benchmarks/resources.json

bench-scale: $(INSTALLED)
	@PYTHONPATH=benchmarks $(BIN)/python -m scale measure --json scale.json

scons: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" TESTS="$(TESTS)" $(BIN)/scons

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist build bin tests/.tests .sconf_temp .sconsign.dblite config.log
	rm -rf doc/_build doc/api doc/lsst.bgqa/tasks
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis python/lsst/bgqa/version.py
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNS): pyproject.toml
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	echo "bgqa needs Python 3.12 or newer; none was found (make PYTHON=/path/to/python3 uses another)" >&2; exit 1; fi; \
	echo "Installing into $(VENV) with $$python (once; a minute or two, 1.1 GB)"; \
	"$$python" -c "import sys; sys.exit(not ($(SOUND)))" || echo "Warning: zipfile of this Python has a fault that\
	 bgqa works around (eval \"\$$(bgqa env)\"); 3.12.9 or 3.13.2 and later have none" >&2; \
	"$$python" -m venv $(VENV) || { \
	echo "$$python cannot make a virtual environment; Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[report]" || { $(UNREACHABLE); }
	@touch $@

$(INSTALLED): $(RUNS)
	@echo "Installing what tests and BPS need, too (once; half a minute, 0.4 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,report,bps]" || { $(UNREACHABLE); }
	@touch $@

$(VENV)/.docs: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@
