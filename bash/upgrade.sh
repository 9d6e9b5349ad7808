#!/usr/bin/env bash
# Upgrades a cluster of OLD_BINARY, the release before this one, to this one: a process after the
# other, with kill -9, under load; held at the older version, goes back, process by process; and then
# for good. Ends with the verdict of the test, in which the results are checked
# (tests/system/upgrades.rs; docs/upgrades.md).
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 1 1 "upgrade.sh OLD_BINARY"
is_program "$1" || refuse "upgrade.sh: $1 is not a program"
PAXOS_BEFORE=$(realpath -- "$1")
export PAXOS_BEFORE
cd -P -- "$PAXOS_HOME" >/dev/null
command -v cargo >/dev/null || refuse "upgrade.sh: there is no cargo; install Rust from https://rustup.rs"
# exec, so that a signal that ends this script ends the tests.
tests=$(cargo test --release --quiet --test system --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*tests[^"]*\|[^"]*system-[^"]*\)".*/\1/p' | tail -n 1)
exec "$tests" upgrades --nocapture --test-threads=1
