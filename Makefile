# Everything a developer runs. Needs make and Python 3.11 or newer; all else is installed into .venv.

# The system's own Python comes first: a distribution builds it profile-guided, which is half as fast again as a plain
# build of the same version. One that cannot make a virtual environment is passed over.
USABLE := import sys, ensurepip, venv; sys.version_info >= (3, 11) and print(sys.executable)
PYTHON ?= $(firstword $(foreach python,/usr/bin/python3.11 python3.11 python3,$(shell $(python) -c '$(USABLE)' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where an image forbids it, each of the dozens of processes of a test run would compile the whole product anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check simulate changes-properties faults overload soak faults-table bench bench-large bench-base
.PHONY: delay-backtest delay-structure delay-expedite delay-rescore bench-scoring foreign-models console console-pictures console-speed
.PHONY: console-dashboard-load clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Create .venv and install the project with its pinned dependencies

# Runs again only when what it depends on has changed. The stamp is written last, so a broken install is repeated.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,delay]'
	@touch $@

demo: install  ## Start everything, run real orders to completion and show them
	$(BIN)/orderplan demo

check: install  ## Lint, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit/test_layering.py

# What needs no cluster runs on all cores; the rest shares clusters and waits for real time, in one process. The second
# part takes whatever the first one leaves out, so that no test is in neither.
APART := tests/unit tests/contract

test: check  ## check, then all tests: those without a cluster on all cores, then the others one by one
	@rm -f .pytest_cache/totals.*
	ORDERPLAN_TOTALS=.pytest_cache/totals.json $(BIN)/pytest -q -n auto $(APART)
	ORDERPLAN_TOTALS=.pytest_cache/totals.json $(BIN)/pytest $(APART:%=--ignore=%)
	@cat .pytest_cache/totals.txt

simulate: install  ## Run SEEDS=n simulated clusters (2,000); SEED=n tells the story of one that fails
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)) $(if $(FIRST),--first $(FIRST))

changes-properties: install  ## Change CASES=n random orders (50,000) and compare what is left; SEED=n tells one step by step
	$(BIN)/python -m tests.changes $(if $(SEED),--seed $(SEED),--cases $(or $(CASES),50000)) $(if $(FIRST),--first $(FIRST))

faults: install  ## The long form of the kill test: 1,000 orders, ten kills; SEED=n draws others
	ORDERPLAN_FAULTS=long $(if $(SEED),ORDERPLAN_SEED=$(SEED)) $(BIN)/pytest -s -m faults tests/faults

soak: install  ## MINUTES=30 at half of what the machine can do, a fault every 30 s; writes docs/soak.json and docs/soak.svg
	$(BIN)/python -m tests.faults.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

overload: install  ## Three times the orders that this machine can do, for a minute
	$(BIN)/python -m tests.faults.overload

faults-table: SEEDS ?= 1,2,3
faults-table: install  ## Every kind of real fault, SEEDS=1,2,3, into docs/FAULTS.md; KIND=name,name and SEED=n limit it
	$(BIN)/python -m tests.faults.table --kinds "$(KIND)" --seeds "$(or $(SEED),$(SEEDS))"

bench: install  ## Three rounds of every scenario, the floor and a peer; writes docs/PERFORMANCE.md. About 25 minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/orderplan bench --rounds 3 --write docs

bench-large: install  ## A million plans that wait, hosts struck among them, a million finished orders. About 40 minutes
	$(BIN)/orderplan bench --parts waiting,struck,finished --plan-hosts 2 --write docs $(LARGE)

bench-base: install  ## Import PRODUCTS=n (a million) installed products twice and find them; fails above its bars. About 20 minutes
	$(BIN)/python -m bench.base $(if $(PRODUCTS),--products $(PRODUCTS))

delay-backtest: install  ## Delay models on simulated event logs, SEEDS=1,2,3; writes docs/DELAY_BACKTEST.md. About ten minutes
	$(BIN)/python -m bench.delay_backtest $(if $(SEEDS),--seeds $(SEEDS))

delay-structure: install  ## What the plan's structure is worth to the delay model, SEEDS=1,2,3; writes docs/DELAY_STRUCTURE.md. About 15 minutes
	$(BIN)/python -m bench.delay_structure $(if $(SEEDS),--seeds $(SEEDS))

delay-expedite: install  ## What putting orders first does on simulated load; writes docs/DELAY_EXPEDITE.md and two pictures
	$(BIN)/python -m bench.delay_expedite $(if $(SEEDS),--seeds $(SEEDS))

delay-rescore: install  ## Processor seconds that scoring PLANS=10000 plans in flight takes; the bar is 2 s
	$(BIN)/python -m bench.delay_rescore $(if $(PLANS),--plans $(PLANS))

foreign-models: install  ## Install what runs ONNX, skops and MLflow models and Parquet, and try them with the real libraries
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[onnx,skops,mlflow,parquet]' skl2onnx
	$(BIN)/pytest -q tests/unit/test_foreign_models.py tests/unit/test_event_logs.py

bench-scoring: install  ## Throughput with the delay predictor, to that without: ROUNDS=3, WAITING=0 orders beside. About 10 minutes
	$(BIN)/python -m bench.scoring $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WAITING),--waiting $(WAITING))

console: install  ## Build the console anew into gateway/console; needs Node 20.19 or newer
	$(BIN)/python console/make_api.py
	cd console && npm ci && npm run check && npm run build
	$(BIN)/python console/stamp.py

console-speed: install  ## How quick the console is in a browser, against its bars; on a machine that does nothing else; needs chromium
	$(BIN)/python -m tests.speed.console $(if $(ROUNDS),--rounds $(ROUNDS))

console-pictures: install  ## Pictures of every screen of the console, light and dark, into docs/console; needs chromium
	ORDERPLAN_PICTURES=docs/console ORDERPLAN_REQUIRE_BROWSER=1 $(BIN)/pytest -q tests/acceptance/console

console-dashboard-load: install  ## The console's overview at 1,000 orders/s for MINUTES=10; fails when memory grows or it falls behind
	$(BIN)/python -m tests.console_load $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE))

clean:  ## Remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
