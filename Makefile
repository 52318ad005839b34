# Two commands to start with: `make demo` and `make test`. Both install into $(VENV) first, once.

VENV   ?= .venv
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
PIP     = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: demo test lint coverage format docs clean
.DEFAULT_GOAL := demo

demo: $(VENV)/installed-demo  ## the whole story against embedded servers: no account, no network
	@$(VENV)/bin/mlgov demo $(DEMO_OPTIONS)

test: $(VENV)/installed-dev   ## every check; `.ci/run` does the same in a fresh environment
	@PATH="$(abspath $(VENV))/bin:$$PATH" .ci/checks

lint: $(VENV)/installed-dev   ## the checks that take seconds
	@PATH="$(abspath $(VENV))/bin:$$PATH" .ci/checks lint

coverage: $(VENV)/installed-dev  ## the default tests, with the lines that none of them reaches; half as long again
	@PATH="$(abspath $(VENV))/bin:$$PATH" pytest -q -n 2 --dist loadfile --cov --cov-report=term -m "not long and not fuzz"

format: $(VENV)/installed-dev
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

docs: $(VENV)/installed-dev   ## write the generated pages anew
	@$(VENV)/bin/python docs/generate.py --write

clean:
	rm -rf $(VENV) build dist *.egg-info mlgov-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later was found; name one with PYTHON=..." >&2; exit 2; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) (MLflow is large: a few minutes the first time)"
	@$(PIP) install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) (MLflow is large: a few minutes the first time)"
	@$(PIP) install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed-demo
