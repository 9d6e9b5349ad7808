#!/usr/bin/env bash
# Proves that the tests can see: switches on each deliberate bug of src/bugs.rs, one a processor at a
# time, and shows what catches it: a drill or a seed of the simulator, or the model.
#
# BUG=<name> tries that one alone; FULL=1 lets both look for every bug. What saw a bug the last time is
# tried first, from src/sim/testdata/caught.txt; REWRITE=1 without BUG writes that file anew.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
cd -P -- "$PAXOS_HOME" >/dev/null
command -v cargo >/dev/null || refuse "bugs.sh: there is no cargo; install Rust from https://rustup.rs"
# exec, so that a signal that ends this script ends the tests.
tests=$(cargo test --profile ci --quiet --features bugs --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
exec "$tests" sim::hunt --nocapture --test-threads=1
