#!/usr/bin/env bash
# Starts the roles of a host in one process: a proposer, an acceptor and a learner with this ID.
# Values on standard output. NO_TIMEOUTS and NO_PREEXECUTION are the proposer's.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 6 "node.sh ID CONF [LOSS] [LIFETIME] [NO_TIMEOUTS] [NO_PREEXECUTION]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" node "$1" --loss "${3:-0}" --lifetime "${4:-0}" \
    --no-timeouts "${5:-0}" --no-preexecution "${6:-0}"
