#!/usr/bin/env bash
# Goal: two clients leave the instances to the leader; every value is delivered exactly once, and
# both learners print the same.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
start_client 1 1000 auto
start_client 2 1000 auto
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
