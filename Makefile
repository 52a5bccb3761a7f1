# Every target sets up what it needs, and may be repeated.

.PHONY: demo demo-stop test harm testssl bench lab fuzz check

# A real site behind the gateway, and lines to paste.
demo:
	tests/demo/run

demo-stop:
	tests/demo/run stop

# The whole suite: unit tests, black-box tests against the built commands, replay of the recording, and
# programs of others through what ships.
test:
	tests/setup
	models/fetch-runtime
	cargo build --workspace --bins
	cargo test --workspace
	tests/contract/run
	python3 tests/lab/test_lab.py
	tests/clients/run
	tests/harm/run --smoke

# Who is served, slowed down, held or refused by what ships, by kind: some three minutes.
harm:
	tests/setup build
	models/fetch-runtime
	cargo build -p thornwall-gateway --bins
	tests/harm/run --promises

# What testssl.sh finds in the TLS of the gateway: some two minutes.
testssl:
	tests/setup
	cargo build -p thornwall-gateway
	tests/testssl

# What a request costs, beside other proxies: the table of the README.
bench:
	tests/setup build
	tests/bench/setup
	models/fetch-runtime
	cargo build --release --workspace --bins
	cargo build --release -p thornwall-sidecar --example assess_bench
	cargo run --release -p thornwall-filters --example prefix_set_bench
	cargo run --release -p thornwall-filters --example rate_bench
	cargo run --release -p thornwall-filters --example store_bench
	tests/bench/run

# Real clients make a new recording, and a new model is trained on it.
lab:
	tests/setup build
	tests/lab/setup
	models/fetch-runtime
	cargo build --release --workspace --bins
	tests/lab/run
	target/release/thornwall-train --recording tests/lab/recording.jsonl.gz --out models --name bot_score
	target/lab/venv/bin/pip install -q -r tests/golden/requirements.txt
	target/lab/venv/bin/python tests/golden/make.py
	THORNWALL=$(CURDIR)/target/release/thornwall tests/lab/run --gateway

# Each fuzz target for ten seconds; needs a nightly toolchain and cargo-fuzz.
fuzz:
	tests/setup build
	fuzz/smoke

# What CI runs before the tests.
check:
	tests/setup build
	command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	cargo deny check bans licenses sources
