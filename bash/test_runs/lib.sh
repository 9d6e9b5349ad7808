#!/usr/bin/env bash
# What the scenarios share: a directory, a configuration and ports of their own. Sourced, never run.
#
# A scenario tells its story with start_acceptors, feed and the like, and ends with `judge`.

source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../lib.sh"
here=$PAXOS_HOME/bash
PAXOS_BIN=$(find_paxos)
export PAXOS_BIN

folder=$(mktemp -d "${TMPDIR:-/tmp}/paxos-run.XXXXXX")
cd "$folder" || exit 1
mkdir results
conf=$folder/paxos.conf
# Ports and a cluster name of this run alone, so that runs side by side do not meet. Below 32768,
# where the kernel begins to give ports to senders.
base=$((20000 + $$ % 3000 * 4))
{
    print_groups "$base"
    echo "cluster run-$$-$RANDOM"
} >"$conf"
# With PAXOS_TEST_KEY=1 the run has a key.
if [ "${PAXOS_TEST_KEY:-0}" = 1 ]; then
    "$PAXOS_BIN" keygen "$folder/paxos.key"
    echo "key_file paxos.key" >>"$conf"
fi
acceptors=$(setting "$conf" acceptor_count)

# How long anything runs at most, in seconds.
lifetime=60
loss=0
# The process of each name, what it was started with, and where its standard output goes.
declare -A pid_of command_of output_of

clean_up() {
    local status=$?
    stop_all
    if [ "$status" -eq 0 ]; then
        rm -rf "$folder"
    else
        echo "the files of this run are in $folder" >&2
    fi
}
own_up clean_up

# durable: from now on acceptors keep their data, in the run's own directory.
durable() {
    # From here: a word of the file has no blanks, and the folder's path may.
    echo "data data" >>"$conf"
}

# start_node NAME COMMAND...: starts a process that is called NAME from then on.
start_node() {
    local name=$1
    shift
    command_of[$name]=$(printf '%q ' "$@")
    start "results/$name.log" "$@"
    pid_of[$name]=${STARTED[-1]}
}

# restart_node NAME: starts a process again as it was started before, without its standard input.
restart_node() {
    local -a command
    eval "command=(${command_of[$1]})"
    start_node "$1" "${command[@]}" </dev/null >"${output_of[$1]:-/dev/null}"
}

# start_acceptors COUNT
start_acceptors() {
    local id
    for ((id = 1; id <= $1; id++)); do
        start_node "acceptor$id" "$here/acceptor.sh" "$id" "$conf" "$loss" "$lifetime"
    done
}

# start_learner ID: its standard output goes to results/learner<ID>.out.
start_learner() {
    output_of[learner$1]=results/learner$1.out
    start_node "learner$1" "$here/learner.sh" "$1" "$conf" "$loss" "$lifetime" >"results/learner$1.out"
}

# start_proposers COUNT [NO_TIMEOUTS] [NO_PREEXECUTION]
start_proposers() {
    local id
    for ((id = 1; id <= $1; id++)); do
        start_node "proposer$id" "$here/proposer.sh" "$id" "$conf" "$loss" "$lifetime" "${2:-0}" "${3:-0}"
    done
}

# start_client ID VALUES [FIRST_INSTANCE]: generates values and feeds them.
start_client() {
    "$here/generate.sh" "$2" >"results/propose$1.txt"
    start_node "client$1" "$here/client.sh" "$1" "$conf" "$loss" "$lifetime" "${3:-1}" <"results/propose$1.txt"
}

# await_lines COUNT FILE: waits until a file has COUNT lines.
await_lines() {
    local waited
    for ((waited = 0; waited < lifetime * 50; waited++)); do
        if [ -e "$2" ] && [ "$(wc -l <"$2")" -ge "$1" ]; then
            return 0
        fi
        sleep 0.02
    done
    echo "$2 does not get $1 lines" >&2
    return 1
}

# slow_feed ID COUNT FIRST_INSTANCE [SECONDS]: feeds a client over about SECONDS, two by default, so
# that there is time for something to happen.
slow_feed() {
    "$here/generate.sh" "$2" >"results/propose$1.txt"
    local parts=$((${4:-2} * 10))
    local part=$((($2 + parts - 1) / parts))
    # The feeder ends with the client: nobody reads any more what it writes.
    start_node "client$1" "$here/client.sh" "$1" "$conf" "$loss" "$lifetime" "$3" < <(
        local from
        for ((from = 1; from <= $2; from += part)); do
            # It leaves what comes after these lines to the next.
            head -n "$part"
            sleep 0.1
        done <"results/propose$1.txt"
    )
}

# start_cluster NO_TIMEOUTS: the configured acceptors, two learners, four proposers.
start_cluster() {
    start_acceptors "$acceptors"
    start_learner 1
    start_learner 2
    start_proposers 4 "$1"
}

# kill_node NAME...: as a crash would, all of them at once and without a word.
kill_node() {
    local name
    local -a pids=()
    for name in "$@"; do
        pids+=("${pid_of[$name]}")
    done
    kill -KILL "${pids[@]}"
    for name in "$@"; do
        { wait "${pid_of[$name]}" || true; } 2>/dev/null
    done
}

# pause_node NAME, resume_node NAME
pause_node() {
    kill -STOP "${pid_of[$1]}"
}
resume_node() {
    kill -CONT "${pid_of[$1]}"
}

# line_count FILE: how many lines a file has; none if there is no file.
line_count() {
    if [ -e "$1" ]; then wc -l <"$1"; else echo 0; fi
}

# await_more COUNT FILE: waits until a file has COUNT lines more than now.
await_more() {
    await_lines $(($(line_count "$2") + $1)) "$2"
}

# expect_less COUNT FILE: demands that a file has fewer lines, so that what happens while
# values flow does.
expect_less() {
    local lines
    lines=$(line_count "$2")
    if [ "$lines" -ge "$1" ]; then
        echo "$2 has all $lines lines already: values no longer flow" >&2
        return 1
    fi
}

# judge SECONDS LEARNERS CLIENTS [FIRST_INSTANCE...]: waits until the learners are complete, for at
# most SECONDS, ends everything, and gives the checker's verdict and status.
judge() {
    local seconds=$1
    shift
    attend "$PAXOS_BIN" watch "$1" "$2" "${@:3}" --timeout "$seconds" 2>/dev/null || true
    stop_all
    attend "$here/check_results.sh" "$1" "$2" false "${@:3}"
}
