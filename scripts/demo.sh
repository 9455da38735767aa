#!/bin/sh
# Runs `fanfare demo` on an installation of its own, of which nothing stays.
set -eu

FANFARE_HOME=$(mktemp -d /tmp/fanfare-demo.XXXXXX)
export FANFARE_HOME
unset DATABASE_URL FANFARE_KEY

fanfare() {
    cargo run --locked --release --quiet -p fanfare-cli -- "$@"
}

clean() {
    fanfare db stop >/dev/null 2>&1 || true
    rm -rf "$FANFARE_HOME"
}
trap clean EXIT
trap 'exit 130' INT TERM

fanfare demo "$@"
