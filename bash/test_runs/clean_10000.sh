#!/usr/bin/env bash
# Goal: nothing goes wrong, two clients ask for the same 10000 instances, one value wins each.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
start_client 1 10000
start_client 2 10000
judge 30 2 2
