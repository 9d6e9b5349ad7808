#!/usr/bin/env bash
# Goal: the leader sleeps for three seconds and comes back to a cluster that has another one.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
slow_feed 1 2000 auto
slow_feed 2 2000 auto
await_lines 500 results/learner1.out
pause_node proposer1
sleep 3
resume_node proposer1
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
