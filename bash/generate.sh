#!/usr/bin/env bash
# Prints COUNT random values, one a line.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 1 1 "generate.sh COUNT"
paxos=$(find_paxos)
exec "$paxos" generate "$1"
