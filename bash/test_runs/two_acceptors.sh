#!/usr/bin/env bash
# Goal: two of three acceptors are a quorum, so everything is decided.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_acceptors 2
start_learner 1
start_learner 2
start_proposers 4
start_client 1 1000
start_client 2 1000
judge 30 2 2
