.DEFAULT_GOAL := help
.PHONY: help run test check bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start lastword; ARGS="--listen 127.0.0.1:9000" passes options on
	@scripts/setup run
	cargo run --release -- serve $(ARGS)

test: ## Run all tests; the last line is their sum
	@scripts/setup test
	@scripts/test

check: ## Format, lints, docs and licences, as CI does
	@scripts/setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny check; else \
	  echo "skipped licences and sources: cargo install --locked cargo-deny"; fi

bench: ## Measure; SCENARIO=durable, gateway or upstream, ARGS="--tps 100" passes options on
	@scripts/setup run
	cargo build --release
	cargo run --release --bin bench -- $(or $(SCENARIO),durable) $(ARGS)
