#!/usr/bin/env bash
# Proves that the tests can see: switches on each deliberate bug of src/bugs.rs, one a processor at a
# time, and shows what catches it, the simulator or the model, and after how many seeds or states.
#
# BUG=<name> tries that one alone; FULL=1 lets both look for every bug.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd -P -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/.." >/dev/null
command -v cargo >/dev/null || {
    echo "bugs.sh: there is no cargo; install Rust from https://rustup.rs" >&2
    exit 2
}
# A program of its own, so that who ends this script ends the tests.
tests=$(cargo test --profile ci --quiet --features bugs --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
exec "$tests" sim::hunt --nocapture --test-threads=1
