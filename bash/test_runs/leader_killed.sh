#!/usr/bin/env bash
# Goal: the leader dies mid-run; another proposer takes over, and every value is delivered once.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
slow_feed 1 2000 auto
slow_feed 2 2000 auto
await_lines 500 results/learner1.out
kill_node proposer1
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
