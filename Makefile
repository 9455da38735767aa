# `make demo` and `make test` do all the rest themselves on a machine that has Rust.
# ARGS are handed on: make demo ARGS='--recipients 50000 --faults heavy'

.PHONY: demo test check bench postgres postfix

demo: postgres
	cargo build --locked --release -p fanfare-cli
	@scripts/demo.sh $(ARGS)

test: postgres postfix
	@status=0; cargo test --locked --workspace $(ARGS) || status=$$?; \
	cargo run --locked --quiet -p fanfare-testdb -- stop; exit $$status

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: postgres
	cargo build --locked --release -p fanfare-cli
	@cargo run --locked --release --quiet --manifest-path benches/Cargo.toml -- $(ARGS)

postgres:
	@scripts/postgres.sh

postfix:
	@scripts/postfix.sh
