#!/usr/bin/env bash
# Prints COUNT random values, one a line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

refuse_unless_count $# 1 1 "generate.sh COUNT"
paxos=$(find_paxos)
exec "$paxos" generate "$1"
