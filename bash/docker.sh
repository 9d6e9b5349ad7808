#!/usr/bin/env bash
# Runs a cluster in containers, each with an address of its own, and prints the verdict, with the
# checker's status: builds the image, starts 3 acceptors, 3 proposers, 2 learners and 2 clients,
# copies their results into results/, and removes everything but the image.
#
# `plain` starts all at once; in `catch_up` learner 2 and client 2 come late; `nodes` starts 3 nodes, each
# a proposer, an acceptor and a learner in one process, and the 2 clients. VALUES, LOSS, LIFETIME,
# FIRST_INSTANCE, NO_TIMEOUTS, NO_PREEXECUTION and LATE in the environment are as in docker/.env.
# BASE_IMAGE names the image to build on, instead of one made here by docker/base.sh. DOCKER and
# COMPOSE name other commands.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
source "$PAXOS_HOME/bash/clear_lib.sh"

refuse_unless_count $# 0 1 "docker.sh [plain|catch_up|nodes]"
run=${1:-plain}
export VALUES=${VALUES:-100} LIFETIME=${LIFETIME:-60} FIRST_INSTANCE=${FIRST_INSTANCE:-1}
[[ $VALUES =~ ^[0-9]{1,12}$ ]] || refuse "docker.sh: VALUES $VALUES is not a whole number from 0 to 999999999999"
[[ $LIFETIME =~ ^[1-9][0-9]{0,4}$ ]] || refuse "docker.sh: LIFETIME $LIFETIME is not a number of seconds from 1 to 99999"
[[ $FIRST_INSTANCE =~ ^(auto|[1-9][0-9]{0,17})$ ]] || refuse "docker.sh: FIRST_INSTANCE $FIRST_INSTANCE is neither an instance nor auto"
firsts=("$FIRST_INSTANCE" "$FIRST_INSTANCE")
file=docker-compose.yml learners=2 build=acceptor1
nodes=(acceptor1 acceptor2 acceptor3 proposer1 proposer2 proposer3 learner1 learner2 client1 client2)
case $run in
plain) export ENTRYPOINT=docker-entrypoint.sh ;;
nodes)
    file=docker-compose.nodes.yml learners=3 build=node1
    nodes=(node1 node2 node3 client1 client2)
    export PAXOS_CONTAINER_LEARNERS=node
    ;;
catch_up)
    export ENTRYPOINT=docker-entrypoint_catchup.sh
    [ "$FIRST_INSTANCE" = auto ] || firsts=("$FIRST_INSTANCE" $((FIRST_INSTANCE + VALUES)))
    ;;
*) refuse "usage: docker.sh [plain|catch_up|nodes]" ;;
esac

docker=${DOCKER:-docker}
"$docker" info >/dev/null 2>&1 || refuse "docker.sh: no container engine answers; start it, or name another with DOCKER"
if [ -n "${COMPOSE:-}" ]; then
    read -r -a compose <<<"$COMPOSE"
elif "$docker" compose version >/dev/null 2>&1; then
    compose=("$docker" compose)
else
    compose=(docker-compose)
fi
"${compose[@]}" version >/dev/null 2>&1 || refuse "docker.sh: there is no ${compose[*]}; install Compose, or name another command with COMPOSE"
# A project of this checkout alone: containers that somebody else started, even by hand from
# docker/, are not this script's to remove.
project=paxos-run-$(printf '%s' "$PAXOS_HOME" | cksum | cut -d ' ' -f 1)
compose+=(--project-name "$project" --file "$PAXOS_HOME/docker/$file")
export PAXOS_IMAGE=$project

mkdir -p "$PAXOS_HOME/target"
exec 9>"$PAXOS_HOME/target/docker.lock"
flock --nonblock 9 || refuse "docker.sh: it runs already in this checkout; wait for its end"

# The names are fixed, so there can be one such cluster on an engine.
for node in "${nodes[@]}"; do
    if owner=$("$docker" container inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$node" 2>/dev/null) &&
        [ "$owner" != "$project" ]; then
        refuse "docker.sh: there is a container $node that is not of this run${owner:+, but of $owner}; rename or remove it first"
    fi
done

# The binary and the base image, unless there is an image to build on: then the binary is built there.
if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=$("$PAXOS_HOME/docker/base.sh")
    (cd "$PAXOS_HOME" && unset PAXOS_BIN && build_if_stale)
    export BUILD_TARGET=${BUILD_TARGET:-prebuilt}
fi
export BASE_IMAGE

# quietly COMMAND...: runs it, and shows what it says only if it fails.
quietly() {
    local said
    said=$("$@" 2>&1) || {
        printf '%s\n' "$said" >&2
        refuse "docker.sh: $1 failed"
    }
}

clean_up() {
    local status=$?
    trap - EXIT
    "${compose[@]}" down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 ||
        echo "docker.sh: containers of $project are left; see docker ps --all" >&2
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The remains of an earlier run that was killed.
quietly "${compose[@]}" down --volumes --remove-orphans --timeout 5
replaced=$("$docker" image ls --quiet "$PAXOS_IMAGE")
# All services share one image.
quietly "${compose[@]}" build "$build"
if [ -n "$replaced" ] && [ "$replaced" != "$("$docker" image ls --quiet "$PAXOS_IMAGE")" ]; then
    # It may be in use.
    "$docker" image rm "$replaced" >/dev/null 2>&1 || true
fi

refuse_links results
mkdir -p results
survey_results results
remove_left
started=$SECONDS
quietly "${compose[@]}" up --detach --no-build
# Each ends when it knows the fate of its values, or at its lifetime. Waited for in the background, or
# a signal to this script would have to wait as well.
timeout "$((LIFETIME + 30))" "$docker" wait client1 client2 >/dev/null 9>&- &
wait "$!" || true

copy_and_check() {
    "$PAXOS_HOME/bash/copy_results_from_containers.sh" 2 "$learners" &&
        "$PAXOS_HOME/bash/check_results.sh" "$learners" 2 false "${firsts[@]}"
}
# Learners may still be fetching.
until copy_and_check >/dev/null 2>&1 || [ $((SECONDS - started)) -ge "$LIFETIME" ]; do
    sleep 0.2
done

# SIGTERM ends every process, with status 0.
quietly "${compose[@]}" stop --timeout 5
for node in "${nodes[@]}"; do
    ended=$("$docker" container inspect --format '{{.State.ExitCode}}' "$node")
    if [ "$ended" -ne 0 ]; then
        echo "docker.sh: $node ended with status $ended; it said:" >&2
        # Standard output is a learner's values.
        "$docker" logs --tail 5 "$node" >/dev/null
        [ "$ended" -ne 137 ] || refuse "docker.sh: SIGTERM did not end $node"
    fi
done
copy_and_check
