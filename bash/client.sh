#!/usr/bin/env bash
# Starts one client: values on standard input. FIRST_INSTANCE is a number, or auto.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 5 "client.sh ID CONF [LOSS] [LIFETIME] [FIRST_INSTANCE]"
paxos=$(find_paxos)
exec "$paxos" --conf "$2" client "$1" --loss "${3:-0}" --lifetime "${4:-0}" \
    --first-instance "${5:-1}"
