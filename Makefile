# Every chore of the project, the same for people and for CI. `make` alone lists them.

# Which Python to use; by default the newest that we are tested with.
PYTHON ?=
JOBS ?= 2
FUZZ ?= 60
PYTEST = .venv/bin/python -m pytest -n $(JOBS)
COMPILE_GROUP = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade
COMPILE = $(COMPILE_GROUP) --all-extras pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help demo test check setup fmt types imports rules docs soak fuzz gallery bench image lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: .venv/.runtime ## the whole thing on this machine, with nothing to configure
	@.venv/bin/python -m k2alert demo

test: setup ## all tests; as root on Debian also installs the servers they speak with
	@scripts/servers
	$(PYTEST) $(ARGS)

check: setup ## all that CI checks: format, lint, types, imports, rules; then the tests, none skipped
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	@$(MAKE) types imports rules
	@scripts/servers
	K2ALERT_NO_SKIP=1 $(PYTEST)

setup: .venv/.dev ## the environment in .venv, with everything that is needed to work on this

fmt: setup ## format, and mend what can be mended
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

types: setup ## mypy --strict
	.venv/bin/mypy

imports: setup ## who may import whom
	.venv/bin/lint-imports

rules: setup ## the shipped rules, and their tests
	.venv/bin/k2alert check --strict rules/*.yml
	.venv/bin/k2alert test rules/tests

docs: setup ## write the generated pages of the docs, and the dashboard, anew
	.venv/bin/python -m scripts.metrics_page > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	.venv/bin/python -m scripts.checks_page > docs/checks.md.new
	mv docs/checks.md.new docs/checks.md
	.venv/bin/python -m scripts.dashboard > deploy/grafana/dashboards/k2alert.json.new
	mv deploy/grafana/dashboards/k2alert.json.new deploy/grafana/dashboards/k2alert.json

gallery: setup ## every kind of message as files in ./gallery, and pictures of them and of every page, to look at
	.venv/bin/python -m tests.support.gallery gallery screenshots
	.venv/bin/python -m tests.support.page_gallery gallery

soak: setup ## the long forms of tests: kill -9 and the like, minutes each
	.venv/bin/python -m pytest -m soak --timeout 3600 $(ARGS)

fuzz: setup ## look for texts that break conditions, messages, files and reports, FUZZ=60 seconds for each
	@for target in condition message rules report; do \
		.venv/bin/python -m tests.fuzz $$target -max_total_time=$(FUZZ) || exit 1; done

bench: setup ## how long things take: every script in benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; .venv/bin/python "$$script" || exit 1; done

image: setup ## the container image without an engine or a network, in dist/image (root on Debian; elsewhere: docker build .)
	@scripts/servers
	@scripts/image

lock: ## choose the versions of all dependencies anew (needs uv)
	$(COMPILE) -o requirements.lock
	$(COMPILE_GROUP) --group pyproject.toml:build -o requirements-build.lock
	$(COMPILE) --group dev -o requirements-dev.lock

clean: ## remove the environment and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

.venv/bin/python:
	@scripts/venv $(PYTHON)

# The demo needs only what the daemon needs.
.venv/.runtime: requirements.lock | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.runtime
