#!/usr/bin/env bash
# Goal: each process loses 20 % of what it receives, and everything is decided all the same.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

loss=0.20
start_cluster 0
start_client 1 1000
start_client 2 1000
judge 30 2 2
