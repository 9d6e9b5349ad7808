#!/usr/bin/env bash
# Goal: an acceptor dies mid-run; the other two are a quorum, and everything is decided.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
slow_feed 1 2000 auto
slow_feed 2 2000 auto
await_lines 500 results/learner1.out
kill_node acceptor3
judge 30 2 2 auto auto
