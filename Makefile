.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint audit docs build release-check check-installed
ARGS ?=
JOBS ?= auto
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) --dist worksteal

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[a-z -]* ## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: ## set up, train on ten painted cells and show what that changes
	@scripts/setup.sh demo
	@.venv/bin/napari-unet demo --overwrite $(ARGS)

test: ## set up and run the quick tests (ARGS="-k samples" chooses, JOBS=0 runs them in one process)
	@scripts/setup.sh test
	@$(PYTEST) -m "not slow and not fuzz" $(ARGS)

test-all: ## set up and run all tests, with all examples
	@scripts/setup.sh test
	@$(PYTEST) --hypothesis-profile all $(ARGS)

lint: ## check style, formatting and types
	@scripts/setup.sh lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

audit: ## look for known vulnerabilities and for licences that do not fit
	@scripts/setup.sh lint
	@.venv/bin/python scripts/check_licences.py
	@.venv/bin/python scripts/audit.py

docs: ## build the documentation into site/; a dead link or a page outside the navigation fails
	@scripts/setup.sh lint
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

build: ## make the sdist and, from it, the wheel
	@scripts/setup.sh lint
	@rm -rf dist
	.venv/bin/python -m build

release-check: build ## build, and check all that would be published
	.venv/bin/twine check --strict dist/*
	.venv/bin/python scripts/check_archives.py dist
	.venv/bin/npe2 validate napari-unet-paint

check-installed: ## install the built wheel into an empty environment with napari, and use it there
	@scripts/setup.sh test
	@scripts/check_installed.sh
