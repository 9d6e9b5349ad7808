#!/usr/bin/env bash
# Goal: acceptors keep their data; all of them are killed at once mid-run and come back, and
# everything is decided, whether it was decided before or not.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

durable
start_cluster 0
slow_feed 1 2000 auto
slow_feed 2 2000 auto
await_lines 500 results/learner1.out
kill_node acceptor1 acceptor2 acceptor3
expect_less 4000 results/learner1.out
sleep 0.5
for id in 1 2 3; do
    restart_node "acceptor$id"
done
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
