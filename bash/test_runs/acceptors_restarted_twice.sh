#!/usr/bin/env bash
# Goal: acceptors keep their data; each is killed and comes back, twice, while values flow, and
# everything is decided. No vote is forgotten, or the learners would differ.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

durable
start_cluster 0
slow_feed 1 4000 auto 4
slow_feed 2 4000 auto 4
await_lines 500 results/learner1.out
for _ in 1 2; do
    for id in 1 2 3; do
        kill_node "acceptor$id"
        await_more 100 results/learner1.out
        restart_node "acceptor$id"
        await_more 300 results/learner1.out
    done
done
expect_less 8000 results/learner1.out
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
