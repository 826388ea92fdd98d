.DEFAULT_GOAL := help
.PHONY: help run test test-nats clients check bench chaos fuzz proof fidelity agents assets screenshots bare engines dist real load-tools open-responses

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start lastword; ARGS="--listen 127.0.0.1:9000" passes options on
	@scripts/setup run
	cargo run --release -- serve $(ARGS)

test: ## Run all tests; the last line is their sum
	@scripts/setup run
	@scripts/test

test-nats: ## Run the tests of several instances over a NATS server; ARGS="remote" chooses
	@scripts/setup test
	@scripts/test-nats $(ARGS)

clients: ## Cut the streams of published SSE clients, and see what text they have; ARGS="httpx-sse" chooses
	@scripts/setup clients
	cargo build --release
	@scripts/clients $(ARGS)

check: ## Format, lints, docs, licences and advisories, as CI does
	@scripts/setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p lastword-tests --test chaos -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@if [ -x tests/page/node_modules/.bin/tsc ]; then tests/page/node_modules/.bin/tsc -p tests/page; else \
	  echo "skipped the types of static/: scripts/setup test installs their checker"; fi
	@scripts/audit

agents: ## Run Codex, Claude Code, opencode and pi through the program, with kills in the middle; ARGS="codex" chooses
	@scripts/setup run
	@scripts/agents $(ARGS)

assets: ## Fetch the chat page's libraries into static/vendor
	@scripts/assets

screenshots: ## Make the pictures of the README anew
	@scripts/setup test
	cargo build --release
	SERVER_BINARY=target/release/lastword node tests/page/screenshots.js

bare: ## Build without Node's libraries, and try the page in a browser
	@scripts/setup test
	scripts/bare

engines: ## Try the page in Chromium, Firefox and WebKitGTK, each in a window of its own
	@scripts/setup engines
	cargo build --release
	cd tests/page && SERVER_BINARY=../../target/release/lastword PAGE_TESTS=engines \
	  node --no-warnings --experimental-websocket --test --test-reporter=spec run.js

dist: ## Build the program to give away: dist/lastword-VERSION-TARGET, stripped, with the page in it
	@scripts/dist

bench: ## Measure everything, also beside others, in 25 minutes at most; SCENARIO=fanout ARGS="--rounds 3" measures one thing
	@scripts/setup run
	@scripts/peers
	cargo build --release
	cargo run --release --bin bench -- $(or $(SCENARIO),all) $(ARGS)

chaos: ## Break things for ten minutes; ARGS="--minutes 1 --seed 7 --at-once 20" passes options on
	@scripts/setup run
	cargo test --release --test chaos -- $(ARGS)

real: ## Lose answers of real model servers at many places; POINTS=200 SERVERS=llama.cpp,litellm for more
	@scripts/setup run
	@scripts/real $(ARGS)

fuzz: ## Try the properties with made-up input; ARGS="--minutes 2 --seed 7 framer" passes options on
	@scripts/fuzz $(ARGS)

fidelity: ## Send each field of OpenAI's and Anthropic's SDKs through the program; docs/fidelity.md gets the tables
	@scripts/setup fidelity
	cargo build --release
	@scripts/fidelity
	@scripts/fidelity-anthropic
	cargo test --release --test it -- --ignored without::

open-responses: ## Run Open Responses' compliance tests of a checkout: SUITE=DIRECTORY
	@scripts/setup run
	cargo build --release
	@scripts/open-responses $(SUITE)

load-tools: ## Run load tools as they are published against demo: ARGS="aiperf"
	@scripts/setup run
	cargo build --release
	@scripts/load-tools $(ARGS)

proof: ## Try streamproof on its own server: each planted fault found, no false alarm over 50 seeds
	cargo test -p streamproof -- --include-ignored --test-threads 1
