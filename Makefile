# Every chore of the project, the same for people and for CI. `make` alone lists them.

# Which Python to use; by default the newest that we are tested with.
PYTHON ?=
JOBS ?= 2
FUZZ ?= 60
PYTEST = .venv/bin/python -m pytest -n $(JOBS)
# For `make unit` and its like: which part of the tests, such as 2/4, and where reports go.
PART ?= 1/1
REPORTS = reports
# For the gates: the coverage before, in percent or as a report; where to add a summary in Markdown, if anywhere.
PREVIOUS ?=
SUMMARY ?= $(GITHUB_STEP_SUMMARY)
GATE = .venv/bin/k2alert gate $(1) --junit $(REPORTS)/gate-$@.xml $(if $(SUMMARY),--summary $(SUMMARY))
COMPILE_GROUP = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade
COMPILE = $(COMPILE_GROUP) --all-extras pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help install demo test check unit integration e2e flaky coverage performance audit dist setup fmt lint \
	types imports rules docs site soak fuzz gallery bench image lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: .venv/.runtime ## the whole thing on this machine, with nothing to configure
	@.venv/bin/python -m k2alert demo

install: .venv/bin/k2alert ## what the daemon needs and the command `k2alert`, in .venv

test: setup ## all tests; as root on Debian also installs the servers they speak with
	@scripts/servers
	$(PYTEST) $(ARGS)

check: setup ## all that CI checks: format, lint, types, imports, rules, audit; then the tests, none skipped
	@$(MAKE) lint types imports rules audit
	@scripts/servers
	K2ALERT_NO_SKIP=1 $(PYTEST)

# What follows writes reports to ./reports, for the pipelines in .gitlab-ci.yml and .github/workflows.
part = $(subst /,-of-,$(PART))$(PY:%=-python-%)
files = $$(.venv/bin/python -m scripts.split $@ $(PART))
MEASURED = COVERAGE_FILE=$(REPORTS)/.coverage.$@-$(part) $(PYTEST) --cov=k2alert --cov-report=
TOLD = --junitxml $(REPORTS)/$@-$(part).xml

unit: setup ## tests of parts by themselves, with coverage; PART=2/4 for the second of four parts
	$(MEASURED) $(TOLD) $(files) $(ARGS)

integration: setup ## tests of parts with stand-ins and servers, with coverage, none skipped
	@scripts/servers
	K2ALERT_NO_SKIP=1 $(MEASURED) $(TOLD) $(files) $(ARGS)

e2e: setup ## tests of the whole product, as somebody gets it, none skipped
	@scripts/servers
	K2ALERT_NO_SKIP=1 $(PYTEST) $(TOLD) $(files) $(ARGS)

flaky: setup ## the unit tests three times in random order, and a gate on those that both passed and failed
	@for try in 1 2 3; do $(PYTEST) --junitxml $(REPORTS)/try-$$try.xml \
		$$(.venv/bin/python -m scripts.split unit $(PART)); done; true
	$(call GATE,flaky $(REPORTS)/try-*.xml)

coverage: setup ## what `make unit` and `make integration` covered, and a gate; PREVIOUS=87.5 or a report
	.venv/bin/coverage combine --keep --data-file $(REPORTS)/covered $(REPORTS)/.coverage.*
	.venv/bin/coverage xml --data-file $(REPORTS)/covered -o $(REPORTS)/coverage.xml
	$(call GATE,coverage $(REPORTS)/coverage.xml --previous "$(PREVIOUS)")

performance: setup ## what the main chores cost, and a gate against benchmarks/baseline.json
	@mkdir -p $(REPORTS)
	.venv/bin/python benchmarks/regress.py --report $(REPORTS)/benchmarks.json
	$(call GATE,performance $(REPORTS)/benchmarks.json benchmarks/baseline.json --threshold 0.5)

setup: .venv/.dev ## the environment in .venv, with everything that is needed to work on this

fmt: setup ## format, and mend what can be mended
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lint: setup ## format and lint, as they are
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types: setup ## mypy --strict
	.venv/bin/mypy

imports: setup ## who may import whom
	.venv/bin/lint-imports

rules: setup ## the shipped rules, and their tests
	.venv/bin/k2alert check --strict rules/*.yml
	.venv/bin/k2alert test rules/tests

audit: setup .venv-audit/.done ## bandit, the bill of materials in ./reports, and advisories against what is locked
	@mkdir -p $(REPORTS)
	.venv-audit/bin/bandit --quiet --configfile pyproject.toml --recursive k2alert
	.venv/bin/python -m scripts.sbom > $(REPORTS)/sbom.cdx.json
	.venv-audit/bin/python scripts/audit.py $(REPORTS)/sbom.cdx.json

dist: setup ## wheel and sdist in ./dist, the same bytes from the same commit
	rm -f dist/k2alert-*
	SOURCE_DATE_EPOCH=1577836800 .venv/bin/hatchling build -d dist

docs: setup ## write the generated pages of the docs, and the dashboard, anew
	.venv/bin/python -m scripts.metrics_page > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	.venv/bin/python -m scripts.checks_page > docs/checks.md.new
	mv docs/checks.md.new docs/checks.md
	.venv/bin/python -m scripts.commands_page > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md
	.venv/bin/python -m scripts.licences_page > docs/licences.md.new
	mv docs/licences.md.new docs/licences.md
	.venv/bin/python -m scripts.settings_page > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	.venv/bin/python -m scripts.logs_page > docs/logs.md.new
	mv docs/logs.md.new docs/logs.md
	.venv/bin/python -m scripts.dashboard > deploy/grafana/dashboards/k2alert.json.new
	mv deploy/grafana/dashboards/k2alert.json.new deploy/grafana/dashboards/k2alert.json

site: setup ## the docs as HTML in ./site; a link that leads nowhere fails it
	.venv/bin/python -m scripts.site site

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
	$(COMPILE_GROUP) --group pyproject.toml:audit -o requirements-audit.lock

clean: ## remove the environment and the caches
	rm -rf .venv .venv-audit dist reports site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@scripts/venv $(PYTHON)

# The demo needs only what the daemon needs.
.venv/.runtime: requirements.lock | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/bin/k2alert: .venv/.runtime pyproject.toml requirements-build.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.runtime

.venv-audit/.done: requirements-audit.lock | .venv/bin/python
	.venv/bin/python -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@
