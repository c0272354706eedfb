# What a person types. `make` alone tells the choices.

CARGO ?= cargo
# Most tests wait for a server more than they compute.
export RUST_TEST_THREADS ?= 4

.PHONY: help setup test lint

help: ## tell the choices
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## install what building and testing need and this machine lacks (starts no service)
	@sh .ci/setup

test: setup ## start private servers and run every test on every backend
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace

lint: ## formatting and lints, warnings being errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
