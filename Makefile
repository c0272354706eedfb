# What a person types. `make` alone tells the choices.

CARGO ?= cargo
# Most tests wait for a server more than they compute.
export RUST_TEST_THREADS ?= 4

.PHONY: help setup test model chaos chaos-figures lint bench bench-build
# PROFILE=release lets `make chaos` break the optimised build.
BUILD = $(if $(filter release,$(PROFILE)),--release)

help: ## tell the choices
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install what building and testing need and this machine lacks (starts no service)
	@sh .ci/setup

test: setup ## start private servers and run every test on every backend
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace -- --skip chaos:: --skip model::
	$(CARGO) test --workspace --test promises -- --test-threads 1 chaos:: model::

model: ## play SEEDS schedules of faults (20000) against the protocol, and every broken variant of it
	MODEL_SEEDS=$(or $(SEEDS),20000) $(CARGO) test --profile model -p tests model:: -- --nocapture --test-threads 1

lint: ## formatting and lints, warnings being errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

chaos: setup ## break everything for MINUTES, by each of SEEDS, and judge: SEEDS=1,2,3 MINUTES=30
	$(CARGO) build --workspace --bins $(BUILD)
	SEEDS=$(SEEDS) MINUTES=$(MINUTES) $(CARGO) test -p tests $(BUILD) -- --ignored --nocapture --exact chaos::for_minutes_on_end

chaos-figures: setup ## measure takeovers, a rolling restart under load, and twice the load a deployment can take
	$(CARGO) build --workspace --bins $(BUILD)
	$(CARGO) test -p tests $(BUILD) -- --ignored --nocapture --exact chaos::figures::what_recovery_costs

bench: setup ## measure speed and memory beside a bare path, and write docs/benchmarks.md
	$(CARGO) build --release -p ingress -p worker -p bench
	target/release/bench --write

bench-build: ## time a clean debug build of the workspace, and write docs/benchmarks.md
	$(CARGO) build --release -p bench
	target/release/bench --write build
