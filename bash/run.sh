#!/usr/bin/env bash
# Runs a whole cluster on this host and prints the verdict: 2 clients, 4 proposers, the acceptors
# of the configuration (3), 2 learners.
#
# FIRST_INSTANCE=auto in the environment leaves instances to the leader. PAXOS_CONF names another
# configuration than conf/paxos.conf. NODES=3 starts three processes, each with a proposer, an acceptor
# and a learner, and the two clients.
#
# A run is a cluster of its own: unless the configuration names it, it has a name that no other has,
# and so it meets nobody on its groups. It begins with an empty `data` and empty results/, and removes
# what an earlier run left there, which it recognises; anything else is refused by its path. Its own
# `data` goes with it, unless its verdict is bad. Nothing of it goes on when it ends, however it ends.
#
# results/report.html describes the run: the verdict, who led and when, what was decided over time,
# and what each process counted and said.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
source "$PAXOS_HOME/bash/clear_lib.sh"

command="${FIRST_INSTANCE:+FIRST_INSTANCE=$FIRST_INSTANCE }${NODES:+NODES=$NODES }bash/run.sh $*"
usage="run.sh PROJECT_DIR VALUES [LIFETIME] [LOSS] [NO_TIMEOUTS] [NO_PREEXECUTION]"
refuse_unless_count $# 2 6 "$usage"
project=$1 values=$2 lifetime=${3:-0} loss=${4:-0} no_timeouts=${5:-0} no_preexecution=${6:-0}
first_instance=${FIRST_INSTANCE:-1} nodes=${NODES:-0} learners=2
here=$PAXOS_HOME/bash

[[ $values =~ ^[0-9]{1,12}$ ]] || refuse "run.sh: VALUES $values is not a whole number from 0 to 999999999999"
[[ $lifetime =~ ^[0-9]{1,9}(\.[0-9]+)?$ ]] || refuse "run.sh: LIFETIME $lifetime is not a number of seconds from 0 to 999999999, such as 30 or 2.5"
[[ $loss =~ ^(0?\.[0-9]+|0)$ ]] || refuse "run.sh: LOSS $loss is not a ratio from 0 up to, but not including, 1"
for flag in "$no_timeouts" "$no_preexecution"; do
    [[ $flag =~ ^[01]$ ]] || refuse "run.sh: a flag is 0 or 1, not $flag"
done
[[ $first_instance =~ ^(auto|[1-9][0-9]{0,17})$ ]] || refuse "run.sh: FIRST_INSTANCE $first_instance is neither an instance nor auto"
[[ $nodes =~ ^[0-9]{1,3}$ ]] || refuse "run.sh: NODES $nodes is not a number of nodes from 0 to 999"
nodes=$((10#$nodes))
if ! grep -qs '^name = "multi-paxos"' "$project/Cargo.toml"; then
    refuse "run.sh: $project is not the project's directory"
fi
command -v flock >/dev/null || refuse "run.sh: there is no flock; install util-linux"
cd -- "$project"
conf=${PAXOS_CONF:-$PWD/conf/paxos.conf}

# The process of each name that is still expected to run.
declare -A pid_of
status=0

clean_up() {
    stop_all
    # Data that was never judged, or judged good, is not needed any more.
    if [ -n "$is_ours" ] && [ "$status" -ne 1 ]; then
        for ((id = 1; id <= acceptors; id++)); do rm -rf -- "${data:?}/acceptor-$id"; done
        rmdir -- "$data" 2>/dev/null || true
    fi
}
is_ours=
own_up clean_up

build_if_stale
PAXOS_CLUSTER=run-$(od -A n -t x8 -N 8 /dev/urandom | tr -d ' ')
export PAXOS_CLUSTER
# Read once, before anything is emptied: a configuration that cannot be used changes nothing.
acceptors=$(setting "$conf" acceptor_count)
if [ "$nodes" -gt "$acceptors" ]; then
    refuse "run.sh: NODES is $nodes, but $conf has acceptor_count $acceptors, and each node has an acceptor; make one of them the other"
fi
if [ "$nodes" -gt 0 ]; then learners=$nodes; fi
data=$(setting "$conf" data)

# ---- An empty place ------------------------------------------------------------------------------
refuse_links results
mkdir -p results
hold results
survey_results results
if [ -n "$data" ]; then
    refuse_links "$data"
    mkdir -p -- "$data"
    hold "$data"
    survey_data "$data"
fi
remove_left
if [ -n "$data" ]; then is_ours=1; fi

# ---- The run -------------------------------------------------------------------------------------
# Nodes outlive the wait for the learners a little; 0 lets them run until they are stopped.
whole=${lifetime%%.*}
if [[ $lifetime =~ ^0*(\.0*)?$ ]]; then node_lifetime=0; else node_lifetime=$((10#$whole + 5))${lifetime:${#whole}}; fi

# begin NAME COMMAND...: starts a process that is called NAME from then on.
begin() {
    # The report needs to know who led when, and what was counted.
    RUST_LOG=${RUST_LOG:-info} start "results/$1.log" "${@:2}"
    pid_of[$1]=$!
}

# last_word NAME: the last line that a process said, but for what it has counted.
last_word() {
    grep -v ' received [0-9]*, sent ' "results/$1.log" 2>/dev/null | tail -n 1 || true
}

# look_after: notices who has ended. One that could not start ends the run, with its sentence.
look_after() {
    local name code
    for name in "${!pid_of[@]}"; do
        if kill -0 "${pid_of[$name]}" 2>/dev/null; then continue; fi
        code=0
        wait "${pid_of[$name]}" || code=$?
        unset "pid_of[$name]"
        case $name:$code in
        *:2 | *:75)
            last_word "$name" >&2
            status=$code
            exit "$code"
            ;;
        client*:* | acceptor*:0 | proposer*:0 | node*:0) ;;
        *) echo "run.sh: $name has ended with status $code: $(last_word "$name")" >&2 ;;
        esac
        # Nobody else completes its file.
        if [[ $name == learner* || $name == node* ]]; then kill "$watcher" 2>/dev/null || true; fi
    done
}

# say_who_else: reports once that other processes are on these groups.
say_who_else() {
    if [ -z "$who_else" ] && who_else=$(grep -h -m 1 'another cluster uses the group' results/*.log | head -n 1) && [ -n "$who_else" ]; then
        echo "run.sh: ${who_else#*INFO  }" >&2
    fi
}
who_else=

for id in 1 2; do
    attend "$here/generate.sh" "$values" >"results/propose$id.txt"
done
{
    echo "# How bash/run.sh ran; the checker goes by it when it is not told."
    for id in 1 2; do echo "client $id $first_instance $(cksum <"results/propose$id.txt")"; done
} >results/run.txt
for ((id = 1; id <= nodes; id++)); do
    begin "node$id" "$here/node.sh" "$id" "$conf" "$loss" "$node_lifetime" \
        "$no_timeouts" "$no_preexecution" >/dev/null
done
if [ "$nodes" -eq 0 ]; then
    for ((id = 1; id <= acceptors; id++)); do
        begin "acceptor$id" "$here/acceptor.sh" "$id" "$conf" "$loss" "$node_lifetime"
    done
    for id in 1 2; do
        begin "learner$id" "$here/learner.sh" "$id" "$conf" "$loss" "$node_lifetime" >/dev/null
    done
    for id in 1 2 3 4; do
        begin "proposer$id" "$here/proposer.sh" "$id" "$conf" "$loss" "$node_lifetime" \
            "$no_timeouts" "$no_preexecution"
    done
fi
for id in 1 2; do
    begin "client$id" "$here/client.sh" "$id" "$conf" "$loss" "$node_lifetime" \
        "$first_instance" <"results/propose$id.txt"
done
"$PAXOS_BIN" watch "$learners" 2 "$first_instance" "$first_instance" --timeout "$lifetime" \
    --timeline results/timeline.txt <&0 &
watcher=$!
STARTED+=("$watcher")
for ((turn = 1; ; turn++)); do
    kill -0 "$watcher" 2>/dev/null || break
    look_after
    if [ $((turn % 20)) -eq 0 ]; then say_who_else; fi
    sleep 0.05
done
wait "$watcher" || status=$?
[ "$status" -ne 2 ] || exit 2
look_after
stop_all
say_who_else

# ---- The verdict ---------------------------------------------------------------------------------
find results -maxdepth 1 -name '*.log' -size 0 -delete
# A page that cannot be made says so, and changes no verdict.
attend "$PAXOS_BIN" report "$learners" 2 "$first_instance" "$first_instance" --command "$command" || true
if [ "$first_instance" != auto ] && [ "$values" -gt 0 ]; then
    echo "run.sh: both clients asked for the same $values instances, so each decided one value and the other lost; FIRST_INSTANCE=auto has all of them delivered" >&2
fi
status=0
attend "$here/check_results.sh" "$learners" 2 false "$first_instance" "$first_instance" || status=$?
exit "$status"
