#!/usr/bin/env bash
# Starts one proposer. NO_TIMEOUTS=1: nothing is retransmitted. NO_PREEXECUTION=1: phase 1 per
# instance.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 6 "proposer.sh ID CONF [LOSS] [LIFETIME] [NO_TIMEOUTS] [NO_PREEXECUTION]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" proposer "$1" --loss "${3:-0}" --lifetime "${4:-0}" \
    --no-timeouts "${5:-0}" --no-preexecution "${6:-0}"
