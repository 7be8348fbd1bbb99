# Works with GNU make 3.81 and later (macOS has that one). Nothing here needs root.
# The environment lives in .venv and is run by its path: whatever is activated or installed elsewhere does not matter.

.DEFAULT_GOAL := help
.PHONY: help setup serve test check slow clients proxy mcp bench lock clean
SHELL := /bin/sh
PORT ?= 4000
JOBS ?= 2
ARGS ?=
# conda and tcsh export a HOST that is no address to listen on.
ifeq ($(origin HOST),environment)
HOST := $(or $(filter localhost 0% 1% 2% 3% 4% 5% 6% 7% 8% 9% :%,$(HOST)),127.0.0.1)
endif
HOST ?= 127.0.0.1

PY := .venv/bin/python
UV := uv==0.13.8
export PYTHON
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONOPTIMIZE VIRTUAL_ENV CONDA_PREFIX
# Without its cache of compiled modules every process that a test starts compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_NO_DEPS PIP_DRY_RUN
# For tests: without the keys and settings of whoever runs them.
BARE := env $$(env | sed -nE 's/^((SCRIBE|LITELLM|PYTEST|COVERAGE)_[A-Z0-9_]*|[A-Z0-9_]+_API_KEY)=.*/-u \1/p')

help:  ## what there is
	@echo 'scribe-router: make <target>'
	@awk -F ':.*  ## ' '/^[a-z]+:.*  ## / { printf "  %-9s %s\n", $$1, $$2 }' Makefile
	@echo 'HOST, PORT: where serve listens. ARGS: more arguments, make test ARGS="-k ledger". PYTHON: the interpreter to use.'

setup:  ## create or update .venv from the locks; every target below does it when due
	@scripts/setup.sh .venv runtime build dev

serve:  ## run the proxy on 127.0.0.1:4000, every provider answered by the sandbox: no key, no cost
	@scripts/setup.sh .venv runtime build
	@exec $(PY) -m scribe_router serve --sandbox --host $(HOST) --port $(PORT) $(ARGS)

test: setup  ## the tests, some nine minutes on two cores
	$(BARE) $(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: setup  ## lint, types, configuration, deployment files
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pip --disable-pip-version-check check
	$(PY) scripts/litellm_names.py --check
	$(BARE) $(PY) -m scribe_router check
	PATH="$$PWD/.venv/bin:$$PATH" deploy/lint
	.ci/words

slow: setup  ## crashes, load, all examples, the container's steps, benchmarks; those that measure one after the other
	$(BARE) $(PY) -m pytest -m "slow or hypothesis" --hypothesis-profile all --timeout 300 -n $(JOBS) --dist worksteal \
		--ignore tests/load --ignore tests/test_benchmarks.py $(ARGS)
	$(BARE) $(PY) -m pytest -m slow --timeout 300 tests/load tests/test_benchmarks.py $(ARGS)

clients: setup  ## the official clients, Python and Node, against a running proxy
	@scripts/setup-node.sh tests/clients
	PATH="$$PWD/.venv/node:$$PATH" $(BARE) SCRIBE_NODE="$$PWD/.venv/node/node" $(PY) -m pytest -m clients $(ARGS)

proxy: setup  ## our callbacks inside LiteLLM's own proxy, in .venv-proxy
	@scripts/setup.sh .venv-proxy proxy
	$(BARE) SCRIBE_PROXY_PYTHON="$$PWD/.venv-proxy/bin/python" $(PY) -m pytest -m proxy $(ARGS)

mcp: setup  ## MCP servers of others, Python and Node, in .venv-mcp and beside their tests
	@scripts/setup.sh .venv-mcp mcp
	@scripts/setup-node.sh tests/mcp/real
	PATH="$$PWD/.venv/node:$$PATH" $(BARE) SCRIBE_NODE="$$PWD/.venv/node/node" SCRIBE_MCP_BIN="$$PWD/.venv-mcp/bin" \
		$(PY) -m pytest -m mcp $(ARGS)

bench: setup  ## measure, beside others
	@for each in bench/[a-z]*.py; do $(BARE) $(PY) "$$each" $(ARGS) || exit; done

lock:  ## write requirements/*.lock anew; ARGS=--upgrade takes newer versions
	@scripts/setup-locks.sh "$(UV)" $(ARGS)

clean:  ## remove environments and caches; never the ledger
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist build tests/clients/node_modules \
		tests/mcp/real/node_modules
	find scribe_router tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
