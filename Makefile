# SPDX-License-Identifier: GPL-2.0-or-later
#
# make demo     install what is missing and test the shipped series, patch by patch
# make test     install what is missing and run all tests
# make help     what else there is

PYTHON ?= python3
VENV   := .venv
FARM   := $(VENV)/bin/farm
STAMP  := $(VENV)/.installed

# Debian packages: to build kernels, to boot them, to contain both.
PACKAGES := bc binutils bison bubblewrap busybox-static ccache flex gcc git libc6-dev \
	libelf-dev libssl-dev linux-perf make python3-venv qemu-system-x86 unifdef util-linux xz-utils

MISSING = $(shell for p in $(PACKAGES); do \
	dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)

# Tests wait for guests and processes half of their time.
WORKERS = $(shell expr 2 \* $$(nproc))

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help setup packages demo test lint format schemas bench clean

help:                           ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

setup: packages $(STAMP)        ## install what is missing; the command is then .venv/bin/farm

packages:
	@missing="$(MISSING)"; [ -z "$$missing" ] || { \
	echo "installing Debian packages:$$missing" | tr '\n' ' '; echo; \
	$(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

$(STAMP): pyproject.toml | packages
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup                     ## test the shipped series, patch by patch, with the two quickest scenarios
	$(FARM) submit kernel_series/jump-optimization/series.yml --scenario smoke --scenario overhead

test: setup lint                ## run all tests, those that boot kernels included
	$(VENV)/bin/pytest -n $(WORKERS) --dist worksteal

lint: setup                     ## look at the code without running it
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

format: setup                   ## format the code
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

schemas: setup                  ## write the JSON Schemas of data files anew
	$(VENV)/bin/python -m farm.schemas docs/schemas

bench: setup                    ## measure what is promised; takes an hour or more
	$(VENV)/bin/python tests/bench/submit_against_loop.py
	$(VENV)/bin/python tests/bench/kills.py

clean:                          ## remove what setup made here; caches and runs stay
	rm -rf $(VENV)
