# What a developer does with this repository; `make` alone lists it.

PYTHON ?= python3
# The commit whose contract must still be served; see .ci/breaking for the default.
BASE ?=
# More arguments for serve, test, torture and bench: make test ARGS="-k funnel -x", make torture ARGS="--seed 7".
ARGS ?=

# Processes that the tests run in, each with a Postgres of its own.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STUBS := src/retrieval/v1
MIGRATIONS := $(wildcard sql/migrations/*.up.sql)

# $(call generate,DIR) writes the stubs of all protos below DIR.
generate = $(BIN)/python -m grpc_tools.protoc -I protos --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) \
	protos/retrieval/v1/*.proto

.DEFAULT_GOAL := help
.PHONY: help serve test test-pythons torture check proto proto-check breaking fmt fmt-check lint types bench schema wheels wheel-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Stamps in the environment itself, so that removing it removes them.
$(VENV)/.dev: pyproject.toml .ci/set-up
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.13" >&2; \
		exit 1; }
	@echo "Installing into $(VENV): once, a minute or more while packages download ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@.ci/set-up $(VENV)
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "Installing what the benchmarks need on top ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

serve: $(VENV)/.dev ## Serve the example movies on 127.0.0.1:50051 from an embedded Postgres
	@$(BIN)/retrieval serve --catalogue examples/movies $(ARGS)

test: $(VENV)/.dev ## Run the tests
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

torture: $(VENV)/.dev ## Try the cache with 50,000 random operations, crashes and damaged files
	@$(BIN)/python -m tests.torture $(ARGS)

test-pythons: $(VENV)/.dev ## Set up and try the project on every other Python that is here
	@WORKERS=$(WORKERS) .ci/pythons $(ARGS)

check: fmt-check lint types proto-check breaking wheels wheel-check test ## All checks, and the tests on this Python

proto: $(VENV)/.dev ## Generate the stubs from protos/
	@rm -f $(STUBS)/*_pb2.py $(STUBS)/*_pb2.pyi $(STUBS)/*_pb2_grpc.py
	@$(call generate,src)

proto-check: $(VENV)/.dev ## Compare the committed stubs with protos/
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call generate,"$$fresh") \
		&& { diff -r -x __init__.py -x __pycache__ $(STUBS) "$$fresh/retrieval/v1" \
		|| { echo "The stubs in $(STUBS) are not those of protos/: run make proto." >&2; exit 1; }; } \
		&& echo "The stubs are those of protos/."

wheels: $(VENV)/.dev ## Look for a wheel of each dependency for each Python from 3.11 to 3.14
	@UV=$(BIN)/uv $(BIN)/python .ci/wheels

wheel-check: $(VENV)/.dev ## Use a built wheel without the source tree
	@built=$$(mktemp -d) && trap 'rm -rf "$$built"' EXIT \
		&& $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir "$$built" . \
		&& $(BIN)/python -m zipfile -e "$$built"/*.whl "$$built" && cd "$$built" \
		&& PYTHONPATH="$$built" $(CURDIR)/$(BIN)/python -c 'import retrieval.cli.main, retrieval.cli.serving, retrieval.postgres.migrate as m, \
			retrieval.postgres.sql_files as f; assert m.available() and f.queries("search"), "no SQL"; \
			assert str(f.sql_root()).startswith("'"$$built"'"), f.sql_root(); print("The wheel works by itself.")'

breaking: $(VENV)/.dev ## Compare the contract with the one at BASE
	@BUF=$(BIN)/buf .ci/breaking $(BASE)

schema: $(VENV)/.dev ## Write sql/schema.sql anew from the migrations
	@$(BIN)/python -m tests.postgres.dump_schema

fmt: $(VENV)/.dev ## Format Python and protos
	@$(BIN)/ruff check --quiet --select I --fix .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write protos

fmt-check: $(VENV)/.dev ## Check the format
	@$(BIN)/ruff format --check .
	@$(BIN)/buf format --diff --exit-code protos

lint: $(VENV)/.dev ## Lint Python, imports, protos, migrations and the Dockerfile
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/check_tasks.py src/retrieval
	@$(BIN)/buf lint protos
	@$(if $(MIGRATIONS),$(BIN)/squawk $(MIGRATIONS),echo "squawk: there are no migrations in sql/migrations")
	@$(BIN)/hadolint Dockerfile

types: $(VENV)/.dev ## Check the types
	@$(BIN)/mypy --package retrieval
	@$(BIN)/mypy examples/movies/convert.py

bench: $(VENV)/.bench ## Measure recall, throughput and latency, beside other engines
	@$(BIN)/python -m benchmarks run $(ARGS)

clean: ## Remove the environment, caches and build products; the data in .data/ stay
	@rm -rf $(VENV) .venvs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache benchmarks/.cache
	@find . -name .git -prune -o \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
