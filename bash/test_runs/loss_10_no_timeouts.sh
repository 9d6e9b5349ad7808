#!/usr/bin/env bash
# Goal: at 10 % loss and without time-outs nothing wrong is decided, and not all of it: status 3 is
# to be expected, and 0 is luck.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

loss=0.10
start_cluster 1
start_client 1 1000
start_client 2 1000
judge 5 2 2
