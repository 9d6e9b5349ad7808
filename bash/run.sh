#!/usr/bin/env bash
# Runs a whole cluster on this host and prints the verdict: 2 clients, 4 proposers, the acceptors
# of the configuration (3), 2 learners.
#
# FIRST_INSTANCE=auto in the environment leaves instances to the leader. PAXOS_CONF names another
# configuration than conf/paxos.conf.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="run.sh PROJECT_DIR VALUES [LIFETIME] [LOSS] [NO_TIMEOUTS] [NO_PREEXECUTION]"
refuse_unless_count $# 2 6 "$usage"
project=$1 values=$2 lifetime=${3:-0} loss=${4:-0} no_timeouts=${5:-0} no_preexecution=${6:-0}
first_instance=${FIRST_INSTANCE:-1}
here=$PAXOS_HOME/bash

[[ $values =~ ^[0-9]{1,12}$ ]] || refuse "run.sh: VALUES $values is not a whole number"
[[ $lifetime =~ ^[0-9]{1,9}(\.[0-9]+)?$ ]] || refuse "run.sh: LIFETIME $lifetime is not a number of seconds"
[[ $loss =~ ^(0?\.[0-9]+|0)$ ]] || refuse "run.sh: LOSS $loss is not a ratio from 0 up to, but not including, 1"
for flag in "$no_timeouts" "$no_preexecution"; do
    [[ $flag =~ ^[01]$ ]] || refuse "run.sh: a flag is 0 or 1, not $flag"
done
[[ $first_instance =~ ^(auto|[1-9][0-9]{0,17})$ ]] || refuse "run.sh: FIRST_INSTANCE $first_instance is neither an instance nor auto"
if ! grep -qs '^name = "multi-paxos"' "$project/Cargo.toml"; then
    refuse "run.sh: $project is not the project's directory"
fi
cd "$project"
conf=${PAXOS_CONF:-$PWD/conf/paxos.conf}

build_if_stale

acceptors=$(acceptor_count "$conf")
mkdir -p results
empty_folder results
empty_folder data
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nodes outlive the wait for the learners a little; 0 lets them run until they are stopped.
if [[ $lifetime =~ ^0*(\.0*)?$ ]]; then node_lifetime=0; else node_lifetime=$(awk "BEGIN { print $lifetime + 5 }"); fi

for id in 1 2; do
    "$here/generate.sh" "$values" >"results/propose$id.txt"
done
for ((id = 1; id <= acceptors; id++)); do
    start "results/acceptor$id.log" "$here/acceptor.sh" "$id" "$conf" "$loss" "$node_lifetime"
done
for id in 1 2; do
    start "results/learner$id.log" "$here/learner.sh" "$id" "$conf" "$loss" "$node_lifetime" >/dev/null
done
for id in 1 2 3 4; do
    start "results/proposer$id.log" "$here/proposer.sh" "$id" "$conf" "$loss" "$node_lifetime" \
        "$no_timeouts" "$no_preexecution"
done
# A configuration that is refused ends everything at once: say why instead of waiting.
sleep 0.1
if ! kill -0 "${STARTED[0]}" 2>/dev/null && [ -s results/acceptor1.log ]; then
    cat results/acceptor1.log >&2
    exit 2
fi
for id in 1 2; do
    start "results/client$id.log" "$here/client.sh" "$id" "$conf" "$loss" "$node_lifetime" \
        "$first_instance" <"results/propose$id.txt"
done

status=0
"$PAXOS_BIN" watch 2 2 "$first_instance" "$first_instance" --timeout "$lifetime" || status=$?
[ "$status" -ne 2 ] || exit 2
stop_all
find results -maxdepth 1 -name '*.log' -size 0 -delete
"$here/check_results.sh" 2 2 false "$first_instance" "$first_instance"
