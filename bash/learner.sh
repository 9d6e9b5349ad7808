#!/usr/bin/env bash
# Starts one learner: values on standard output, and in results/learner<ID>_decided_value.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 4 "learner.sh ID CONF [LOSS] [LIFETIME]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" learner "$1" --loss "${3:-0}" --lifetime "${4:-0}"
