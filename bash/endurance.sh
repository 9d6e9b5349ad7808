#!/usr/bin/env bash
# Feeds a cluster that keeps 1 GiB of its log with many short values, and watches what grows: memory,
# disk, and the time that a value takes. Then processes are killed and started again.
#
# 100 million values of ten bytes by default: some minutes, and 8 GB of disk below results/bench
# while it runs. Prints tables and leaves two charts there, endurance.svg and endurance-memory.svg.
# Status 1: a value is missing, twice or out of order, or something took more than its settings
# allow. PROFILE=ci builds as bash/ci.sh builds tests.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
refuse_unless_count $# 0 1 "endurance.sh [MILLIONS]"
millions=${1:-100}
[[ $millions =~ ^[1-9][0-9]{0,2}$ ]] || refuse "endurance.sh: MILLIONS $millions is not a whole number in 1..999"
command -v cargo >/dev/null || refuse "endurance.sh: there is no cargo; install Rust from https://rustup.rs"
cd "$PAXOS_HOME"
exec cargo bench --quiet --profile "${PROFILE:-bench}" --bench compare -- endurance --values "${millions}000000"
