#!/usr/bin/env bash
# Judges the files in results/: integrity, agreement, termination.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 10000 "check_results.sh LEARNERS CLIENTS [PRINT] [FIRST_INSTANCE...]"
paxos=$(find_paxos)
exec "$paxos" check "$@"
