#!/usr/bin/env bash
# Starts one acceptor.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

refuse_unless_count $# 2 4 "acceptor.sh ID CONF [LOSS] [LIFETIME]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" acceptor "$1" --loss "${3:-0}" --lifetime "${4:-0}"
