#!/usr/bin/env bash
# Goal: a learner that starts when everything is decided fetches all of it.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_acceptors "$acceptors"
start_learner 1
start_proposers 4
start_client 1 10000 auto
start_client 2 10000 auto
await_lines 20000 results/learner1.out
start_learner 2
judge 30 2 2 auto auto
cmp results/learner1.out results/learner2.out
