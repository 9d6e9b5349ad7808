#!/usr/bin/env bash
# The one gate: format, lints, documentation, scripts, tests, benches, and a short run.
#
# It is the README's test command and everything that continuous integration calls.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
}

command -v cargo >/dev/null || {
    echo "ci.sh: there is no cargo; install Rust from https://rustup.rs" >&2
    exit 2
}

step "format"
cargo fmt --check

step "scripts"
for script in bash/*.sh bash/test_runs/*.sh .ci/run; do
    bash -n "$script"
done
if command -v shellcheck >/dev/null; then
    shellcheck -x -P SCRIPTDIR bash/*.sh bash/test_runs/*.sh
else
    echo "SKIPPED: shellcheck is not installed, so scripts are checked for syntax only"
fi

step "lints"
cargo clippy --all-targets --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet

step "release build"
cargo build --release --bin paxos

step "tests"
cargo test --release --no-fail-fast

step "tests of the whole, with a key"
PAXOS_TEST_KEY=1 cargo test --release --test system -- timing hostile durability faults

step "deliberate bugs"
bash/bugs.sh

step "seeds of the simulator"
target/release/paxos simulate --seeds 2000

step "a short run"
bash/run.sh . 200 30
bash/run.sh . 200 30 0.1
FIRST_INSTANCE=auto bash/run.sh . 200 30 0.1

printf '\nall of it passed\n'
