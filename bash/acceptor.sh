#!/usr/bin/env bash
# Starts one acceptor.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 4 "acceptor.sh ID CONF [LOSS] [LIFETIME]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" acceptor "$1" --loss "${3:-0}" --lifetime "${4:-0}"
