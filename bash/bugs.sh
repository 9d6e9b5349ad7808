#!/usr/bin/env bash
# Proves that the tests can see: switches on each deliberate bug of src/bugs.rs, one after the
# other, and shows what catches it, the simulator or the model, and after how many seeds or states.
#
# BUG=<name> tries that one alone; FULL=1 lets the model look for every bug, also for those that
# the simulator has caught.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd -P -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/.." >/dev/null
command -v cargo >/dev/null || {
    echo "bugs.sh: there is no cargo; install Rust from https://rustup.rs" >&2
    exit 2
}
exec cargo test --release --quiet --features bugs --lib sim::hunt -- --nocapture --test-threads=1
