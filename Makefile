# Two commands do all the setting up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test install lint types unit docs organism results results-check clean

install: $(VENV)/.installed

# torch first and by its exact version: the constraint alone would let pip look at other builds
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/loralab demo

# side by side: the type checker fills the gaps that two workers of tests leave
test: install
	$(MAKE) --no-print-directory -j 3 lint types unit

lint: install
	$(BIN)/ruff check src organism tests benchmarks
	$(BIN)/ruff format --check src organism tests benchmarks
	$(BIN)/lint-imports

# of the benchmarks what breaks when a signature of the package changes; their own types are left to them
BENCH_TYPES := misc arg-type assignment var-annotated dict-item no-untyped-def func-returns-value attr-defined

# as it is, and as Windows and macOS have it
types: install
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy benchmarks --cache-dir .mypy_cache/benchmarks $(addprefix --disable-error-code=,$(BENCH_TYPES))

# two workers, one thread of torch each; a file's tests stay together, since they share what they have made, and the longest files come first
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# the documentation as a site, in docs/_site; a warning, such as a link to nowhere, is an error
docs: install
	$(BIN)/sphinx-build -W -q -b html docs docs/_site

# petri's acceptance questions and its card, anew
organism: install
	$(BIN)/python -W ignore -m organism.benchmarks.questions --lab lab --out docs/results/petri-organism.md
	$(BIN)/python -W ignore -m organism card

# which pages of docs/results are stale and why, in seconds; and those pages made again, hours (docs/results/index.md)
results-check: install
	$(BIN)/python -W ignore -m organism.results check

results: install
	OMP_NUM_THREADS=2 $(BIN)/python -W ignore -m organism.results make

clean:
	rm -rf lab build dist
