# Every target sets up what it needs, and may be repeated.

.PHONY: demo demo-stop test harm hostile upgrade-test testssl release bench lab floors fuzz deny check

# A real site behind the gateway, and lines to paste.
demo:
	tests/demo/run

demo-stop:
	tests/demo/run stop

# The whole suite: unit tests, black-box tests against the built commands, replay of the recording and of the
# fuzz targets' seeds, and programs of others through what ships. Tests wait more than they work, so more of
# them run at once than there are cores.
test: export RUST_TEST_THREADS ?= 8
test:
	tests/setup
	models/fetch-runtime
	cargo build --workspace --bins --tests
	cargo test --workspace --lib --bins --tests
	tests/contract/run
	python3 tests/lab/test_lab.py
	tests/clients/run
	tests/harm/run --smoke
	tests/hostile/run --smoke

# Who is served, slowed down, held or refused by what ships, by kind: some three minutes.
harm:
	tests/setup build
	models/fetch-runtime
	cargo build --workspace --bins
	tests/harm/run --promises

# Hostile requests, answers and origins from tables, a person beside them, and nginx with the same: some minutes.
hostile:
	tests/setup build
	models/fetch-runtime
	cargo build --workspace --bins
	tests/hostile/run

# From another commit's commands to these and back, under load: `make upgrade-test COMMIT=…`, the commit before
# this one without it. That commit is built too, and then it takes a minute and a half.
upgrade-test:
	tests/setup
	models/fetch-runtime
	cargo build --workspace --bins
	tests/upgrade/run $(COMMIT)

# What testssl.sh finds in the TLS of the gateway: some two minutes.
testssl:
	tests/setup
	cargo build -p thornwall-gateway
	tests/testssl

# The commands as packages ship them: optimised across crates, debug information in files of its own.
release:
	tests/setup build
	cargo build --release --workspace --bins
	deploy/split-debug target/release/thornwall target/release/thornwall-sidecar target/release/thornwall-train

# Who imports whom: circles of modules, and the floor of each room, by crate.
floors:
	tests/floors

# What a request costs, beside other proxies: the table of the README.
bench:
	tests/setup build
	tests/bench/setup
	models/fetch-runtime
	cargo build --release --workspace --bins
	cargo build --release -p thornwall-sidecar --example assess_bench
	cargo run --release -p thornwall-decisions --example prefix_set_bench
	cargo run --release -p thornwall-filters --example rate_bench
	cargo run --release -p thornwall-decisions --example store_bench
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

# Each fuzz target for ten seconds; needs a nightly toolchain, and compiles cargo-fuzz where it is not there.
fuzz:
	tests/setup build
	fuzz/smoke

# Licences, sources and bans of the dependencies: of what stands in these files, and nothing else.
deny:
	.ci/checked/run deny Cargo.lock deny.toml ':(glob)**/Cargo.toml' -- sh -c \
		'{ command -v cargo-deny >/dev/null || cargo install cargo-deny --version 0.20.2 --locked; } \
		&& cargo deny check bans licenses sources'

# What a change is looked at by beside the tests.
check: deny
	tests/setup build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
