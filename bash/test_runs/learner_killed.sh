#!/usr/bin/env bash
# Goal: the leading learner dies mid-run; the other one gets everything.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
slow_feed 1 2000 auto
await_lines 500 results/learner2.out
kill_node learner1
# Only learner 2 is complete, so it is judged as the only one.
mv results/learner1_decided_value results/learner1_decided_value.killed
ln -s learner2_decided_value results/learner1_decided_value
judge 30 1 1 auto
cmp results/propose1.txt results/learner2.out
