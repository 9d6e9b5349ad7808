#!/usr/bin/env bash
# Goal: client 1 asks for instances 1 to 100; client 2 comes when they are decided, with a first
# instance of its own, 101.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_cluster 0
start_client 1 100 1
await_lines 100 results/learner1.out
start_client 2 100 101
judge 30 2 2 1 101
