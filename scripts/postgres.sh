#!/bin/sh
# Sees to it that this machine has a PostgreSQL server, 14 or newer: installs it where apt-get is
# there and may be used, else says what to do. Looks where the program itself looks.
set -eu

oldest=14

# Whether directory $1 holds a server that runs and is new enough.
usable() {
    [ -x "$1/initdb" ] || return 1
    major=$("$1/postgres" --version 2>/dev/null | sed -n 's/^[^)]*) \([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge "$oldest" ]
}

installed() {
    if [ -n "${FANFARE_PG_BIN:-}" ]; then
        usable "$FANFARE_PG_BIN"
        return
    fi
    if dir=$(pg_config --bindir 2>/dev/null) && usable "$dir"; then return 0; fi
    program=$(command -v postgres 2>/dev/null) && usable "$(dirname "$program")" && return 0
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin /usr/local/pgsql*/bin; do
        if usable "$dir"; then return 0; fi
    done
    return 1
}

# Runs a command as root, or fails.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

install() {
    log=$(mktemp)
    echo "No PostgreSQL server found: installing the package postgresql with apt-get."
    if as_root apt-get update >"$log" 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql >>"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

advise() {
    cat >&2 <<'TEXT'
A PostgreSQL server (14 or newer) is needed; it need not run. Install one and try again:
  Debian, Ubuntu: sudo apt-get install postgresql   (if that is too old: https://apt.postgresql.org)
  Fedora, RHEL:   sudo dnf install postgresql-server
  Alpine:         sudo apk add postgresql
  Arch:           sudo pacman -S postgresql
  macOS:          brew install postgresql@17
  elsewhere:      set FANFARE_PG_BIN to the directory of its programs initdb and postgres
TEXT
    exit 1
}

if installed; then exit 0; fi
if [ -z "${FANFARE_PG_BIN:-}" ] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    install || advise
fi
installed || advise
