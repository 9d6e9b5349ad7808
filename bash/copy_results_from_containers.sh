#!/usr/bin/env bash
# Copies what clients were fed and what learners decided from containers into results/.
#
# Containers are named client<ID> and learner<ID>, or node<ID> with PAXOS_CONTAINER_LEARNERS=node; their
# results are in /paxos/results, or where PAXOS_CONTAINER_RESULTS says. DOCKER names another engine.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 2 2 "copy_results_from_containers.sh CLIENTS LEARNERS"
for count in "$1" "$2"; do
    [[ $count =~ ^[0-9]{1,4}$ ]] || refuse "copy_results_from_containers.sh: $count is not a number of containers from 0 to 9999"
done
docker=${DOCKER:-docker}
command -v "$docker" >/dev/null || refuse "copy_results_from_containers.sh: there is no $docker; install it, or name another with DOCKER"
folder=${PAXOS_CONTAINER_RESULTS:-/paxos/results}

mkdir -p results
copy() {
    "$docker" cp "$1:$folder/$2" "results/$2" >/dev/null ||
        refuse "copy_results_from_containers.sh: container $1 has no $folder/$2; has it run?"
}
for ((id = 1; id <= $1; id++)); do
    copy "client$id" "propose$id.txt"
done
for ((id = 1; id <= $2; id++)); do
    copy "${PAXOS_CONTAINER_LEARNERS:-learner}$id" "learner${id}_decided_value"
done
