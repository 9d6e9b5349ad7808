#!/usr/bin/env bash
# Goal: one of three acceptors is no quorum, so nothing may be decided. Status 0 says that nothing
# was.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

start_acceptors 1
start_learner 1
start_learner 2
start_proposers 4
start_client 1 100
start_client 2 100
status=0
judge 3 2 2 || status=$?
for learner in 1 2; do
    if [ -s "results/learner${learner}_decided_value" ] || [ -s "results/learner$learner.out" ]; then
        echo "learner $learner decided without a quorum" >&2
        exit 1
    fi
done
[ "$status" -eq 3 ]
echo "nothing was decided, as it must be"
