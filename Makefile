# `make demo` and `make test` both work in a fresh clone, in any order, with Python 3.11+, make
# and a C toolchain. Everything is installed into .venv (and .venv-mlflow,
# .venv-ploomber) beside this file.

SHELL := /bin/bash
.NOTPARALLEL:
.DEFAULT_GOAL := help

VENV := .venv
MLFLOW_VENV := .venv-mlflow
PLOOMBER_VENV := .venv-ploomber
# A name on PATH may be a shim for a version that is not there, so each candidate is asked.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

# pip must not ask, and must not fetch an unpinned build backend into an isolated environment.
PIP = PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip install -qq
PINS := constraints.txt
TESTS ?= tests
# What the tests start must not look beyond this machine.
OFFLINE := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 MLFLOW_DISABLE_TELEMETRY=true
# A file's tests stay together, for they share what is slow to make.
IN_PARALLEL ?= --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: help demo test check lint bench-main bench-gates bench-kernels install papermill-tests clean

help:  ## Show these targets.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 15

demo: $(VENV)/.demo  ## Run this repository's own job on real data: explore, train, judge, promote.
	@# 3 says that a gate blocked the promotion and why: the demo worked.
	@$(VENV)/bin/nbprod jobs run subject-router || [ $$? -eq 3 ]

test: install papermill-tests $(MLFLOW_VENV)/.installed $(PLOOMBER_VENV)/.installed  ## Run everything that CI runs.
	@.ci/install-postgresql
	@$(MAKE) --no-print-directory lint
	$(OFFLINE) $(VENV)/bin/python -m pytest $(IN_PARALLEL) $(TESTS)

check: install  ## Run a quick subset (under two minutes): lint, types, layers, the fast rooms' tests.
	@$(MAKE) --no-print-directory lint
	$(OFFLINE) $(VENV)/bin/python -m pytest -q tests/core tests/notebook tests/gates tests/architecture

lint: $(VENV)/.all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench-main: install  ## Measure the figures of the README (about ten minutes on two cores).
	$(OFFLINE) $(VENV)/bin/python tests/benchmarks/bench_main.py

bench-gates: install  ## Simulate challengers: false promotions, false blocks, power of every gate.
	$(OFFLINE) $(VENV)/bin/python tests/benchmarks/bench_gates.py

bench-kernels: install $(PLOOMBER_VENV)/.installed  ## Measure warm kernels against their peers (an hour).
	$(OFFLINE) $(VENV)/bin/python tests/benchmarks/bench_kernels.py

install: $(VENV)/.all  ## Install nbprod with every extra and the development tools into .venv.

clean:  ## Remove what the targets above made, the environments included. Keeps .nbprod.
	rm -rf $(VENV) $(MLFLOW_VENV) $(PLOOMBER_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# The stamps are touched last, so an interrupted installation is taken up again.
$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "nbprod needs Python 3.11 or newer; none was found on PATH. \
	Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# torch goes in by its pin before anything asks for plain `torch`, which may mean another build.
$(VENV)/.base: $(VENV)/bin/python $(PINS)
	@echo "Installing into $(VENV): about 2 GB, some minutes, the first time only."
	$(PIP) -c $(PINS) "$$(grep '^torch==' $(PINS))"
	$(PIP) -c $(PINS) hatchling editables
	@touch $@

$(VENV)/.demo: $(VENV)/.base pyproject.toml
	$(PIP) -c $(PINS) --no-build-isolation --editable '.[demo]'
	@touch $@

$(VENV)/.all: $(VENV)/.base pyproject.toml
	$(PIP) -c $(PINS) --no-build-isolation --editable '.[all,dev]'
	@touch $(VENV)/.demo $@

# papermill's own test notebooks come with its source distribution and with nothing else.
papermill-tests: $(VENV)/papermill-tests/.unpacked  ## Fetch papermill's own test notebooks.

$(VENV)/papermill-tests/.unpacked: $(VENV)/.all
	rm -rf $(@D) && mkdir -p $(@D)
	PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip download -qq --no-deps \
	--no-binary papermill --no-build-isolation -d $(@D) "$$(grep '^papermill==' $(PINS))"
	tar -xzf $(@D)/papermill-*.tar.gz -C $(@D) --strip-components=1
	@touch $@

# MLflow pins an older pandas than nbprod runs with, so its server gets an environment of its own.
$(MLFLOW_VENV)/bin/python: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv --clear $(MLFLOW_VENV)

$(MLFLOW_VENV)/.installed: $(MLFLOW_VENV)/bin/python constraints-mlflow.txt
	PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
	$(MLFLOW_VENV)/bin/python -m pip install -qq -c constraints-mlflow.txt mlflow
	@touch $@

# A peer that `make bench-kernels` measures. It executes notebooks in its own process, so it gets
# what the notebooks import from nbprod's environment; what it brings itself stays out of that.
$(PLOOMBER_VENV)/bin/python: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv --without-pip --clear $(PLOOMBER_VENV)

$(PLOOMBER_VENV)/.installed: $(PLOOMBER_VENV)/bin/python constraints-ploomber.txt
	PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/bin/python -m pip \
	--python $(PLOOMBER_VENV)/bin/python install -qq --no-deps -r constraints-ploomber.txt
	@$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	> "$$($(PLOOMBER_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nbprod.pth"
	@touch $@
