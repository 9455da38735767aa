#!/bin/sh
# Sees to it that this machine has a Postfix, which a test sends e-mails to: installs it where apt-get is
# there and may be used. It is installed without a configuration, so that no mail server is started; the test
# starts one of its own. Without it that test is left out, so this never fails.
set -u

installed() {
    for dir in /usr/sbin /usr/local/sbin /opt/homebrew/sbin; do
        if [ -x "$dir/postfix" ]; then return 0; fi
    done
    return 1
}

install() {
    log=$(mktemp)
    echo "No Postfix found: installing the package postfix, without a configuration, with apt-get."
    if echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections >"$log" 2>&1 &&
        apt-get update >>"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postfix >>"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

if installed; then exit 0; fi
# Only root may start a Postfix, so that it is of no use to others.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then install; fi
if ! installed; then echo "No Postfix here: the test that sends to one is left out."; fi
exit 0
