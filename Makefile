# `make demo` shows kubeci at work, `make test` tests all of it; `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help demo test cluster cluster-down build release crds format lint unit e2e bench

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## Run the document's example on a cluster of this machine (CLUSTER=current REGISTRY=...: on yours)
	@testing/demo

test: ## Everything: format, lints, unit and property tests, manifests, end-to-end on a real cluster
	@testing/test

cluster: ## Bring up a cluster with kubeci installed; the last line is its kubeconfig
	@testing/cluster/up --name demo
	@testing/install --name demo

cluster-down: ## Remove that cluster
	@testing/cluster/down --name demo

build: ## Build the operators as static binaries
	@testing/build

release: ## Build the files of a release: images, bills of materials, checksums
	@testing/release

crds: ## Generate crds/ from shared/api
	UPDATE_CRDS=1 cargo test --quiet -p kubeci-api --test crds

format: ## Format the code
	cargo fmt --all

lint: ## Check scripts, text, format, dependencies and code; no test
	@testing/test lint

unit: ## Unit and property tests; no cluster
	@testing/test unit

e2e: ## End-to-end tests on a cluster of their own, or on KUBECI_TEST_KUBECONFIG's
	@testing/test e2e

bench: ## Measure on a cluster of its own; prints the tables of docs/performance.md
	@testing/bench
