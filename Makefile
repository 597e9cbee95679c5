# Everything lives in .venv (and .venv-real, .venv-clients, .venv-openai2, .venv-llama, .venv-ray): nothing else on this machine is touched. `make clean` takes it all away again.

PYTHON ?=
PYTEST_ARGS ?= -n 2
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
BENCH_ARGS ?= -o benchmarks/results
VENV := .venv
REAL := .venv-real
CLIENTS := .venv-clients
OPENAI2 := .venv-openai2
LLAMA := .venv-llama
RAY := .venv-ray
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help demo test soak engine check format grammar docs docs-serve web bench bench-real clean

help:
	@echo "make demo        run the seed's workload on the simulated backend (needs no key, costs nothing)"
	@echo "make test        run the tests"
	@echo "make soak        the tests that take long: kills, faults, fuzzing, other clients (up to twenty minutes)"
	@echo "make engine      answers of a type from llama.cpp on this machine (installs it: 270 MB; a minute)"
	@echo "make check       formatting, lint, types, architecture, then the tests"
	@echo "make format      rewrite the sources as 'make check' wants them"
	@echo "make grammar     rewrite the parser's tables from src/apxm/language/grammar.lark"
	@echo "make docs        the documentation as a site, in build/docs/site; rewrites docs/operations.md"
	@echo "make docs-serve  that site at http://localhost:8000, which follows what is edited"
	@echo "make web         rewrite the code of the report's page from web/ (needs node and npm)"
	@echo "make bench       every performance claim, beside its peers (35 minutes; writes benchmarks/results.md)"
	@echo "make bench-real  workload 4 on a real engine on this machine's CPU (installs torch: 1.3 GB; ten minutes)"
	@echo "make clean       remove .venv and everything generated"

demo: $(VENV)/.installed
	@$(BIN)/python workloads/4_scalability/demo.py

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(VENV)/.installed-dev $(CLIENTS)/.installed $(OPENAI2)/.installed $(RAY)/.installed
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m soak --ignore tests/simulator/test_frameworks.py --ignore tests/batches/test_ray.py
	@$(CLIENTS)/bin/python -m pytest $(PYTEST_ARGS) -m soak tests/simulator/test_frameworks.py
	@$(CLIENTS)/bin/python -m pytest $(PYTEST_ARGS) tests/sdks
	@$(OPENAI2)/bin/python -m pytest $(PYTEST_ARGS) tests/sdks
	@$(RAY)/bin/python -m pytest -m soak tests/batches/test_ray.py

engine: $(VENV)/.installed-dev $(LLAMA)/.installed
	@$(BIN)/python -m pytest -m soak tests/engines

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_architecture.py
	@$(MAKE) --no-print-directory test

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

grammar: $(VENV)/.installed-dev
	$(BIN)/python -m tests.language.grammar_tables

docs: $(VENV)/.installed-docs
	$(BIN)/apxm ops --markdown > docs/operations.md
	@$(BIN)/python -m website build

docs-serve: $(VENV)/.installed-docs
	@$(BIN)/python -m website serve

web: web/node_modules/.installed
	cd web && npm run --silent build

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks

# The engine has an environment of its own: what is measured must not share packages with what measures.
bench-real: $(VENV)/.installed-dev $(REAL)/.installed
	@$(BIN)/python -m benchmarks.real_engine $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(REAL) $(CLIENTS) $(OPENAI2) $(LLAMA) $(RAY) web/node_modules build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: a second call finds them newer than what they depend on, and does nothing.

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing apxm into $(VENV)" >&2
	@$(PIP) install --quiet -c constraints.txt -e . && touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing apxm and its development tools into $(VENV)" >&2
	@$(PIP) install --quiet -c constraints.txt -e '.[bench,dev,docs,mcp,otel,plots]' && touch $(VENV)/.installed $(VENV)/.installed-docs $@

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing apxm and what makes its documentation a site into $(VENV)" >&2
	@$(PIP) install --quiet -c constraints.txt -e '.[docs]' && touch $(VENV)/.installed $@

web/node_modules/.installed: web/package.json web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund && touch node_modules/.installed

# The clients that the simulator is tested on need other versions of what `bench` measures: an environment of their own.
$(CLIENTS)/.installed: $(VENV)/.created pyproject.toml constraints-clients.txt
	@echo "installing the clients that the simulator is tested on into $(CLIENTS)" >&2
	@$(BIN)/python -m venv --clear $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints-clients.txt \
	    -e '.[clients]' pytest pytest-timeout pytest-xdist hypothesis trustme && touch $@

# The major version of the OpenAI SDK before the current one.
$(OPENAI2)/.installed: $(VENV)/.created pyproject.toml constraints-openai2.txt
	@echo "installing the OpenAI SDK before the current one into $(OPENAI2)" >&2
	@$(BIN)/python -m venv --clear $(OPENAI2)
	@$(OPENAI2)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints-openai2.txt \
	    -e '.[openai]' pytest pytest-timeout pytest-xdist hypothesis && touch $@

$(LLAMA)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing llama.cpp into $(LLAMA)" >&2
	@$(BIN)/python -m venv --clear $(LLAMA)
	@$(LLAMA)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[llama]' && touch $@

# Half a gigabyte, which nothing else needs.
$(RAY)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "installing Ray into $(RAY)" >&2
	@$(BIN)/python -m venv --clear $(RAY)
	@$(RAY)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt \
	    -e '.[ray]' pytest pytest-timeout pytest-xdist hypothesis && touch $@

$(REAL)/.installed: $(VENV)/.created benchmarks/real/install.py pyproject.toml constraints.txt
	@$(BIN)/python benchmarks/real/install.py $(REAL) && touch $@

# A usable environment is kept, whoever made it; anything else under that name is made anew.
$(VENV)/.created:
	@if $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null && $(PIP) --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(CANDIDATES); do \
	    if $$python -c '$(NEW_ENOUGH)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "error: A-PXM needs Python 3.11 or newer; looked for: $(CANDIDATES)." >&2; \
	    echo "hint: install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "error: $$($$found --version) lacks the modules venv and ensurepip, which make the environment." >&2; \
	    echo "hint: on Debian and Ubuntu: apt install $$($$found -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
	    exit 1; \
	fi; \
	$$found -m venv --clear $(VENV) && touch $@
