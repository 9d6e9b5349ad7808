#!/usr/bin/env bash
# Goal: nothing goes wrong, two clients ask for the same 100 instances, one value wins each.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

start_cluster 0
start_client 1 100
start_client 2 100
judge 30 2 2
