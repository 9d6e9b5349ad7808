#!/usr/bin/env bash
# Runs a store of three processes on this host, until it is ended: run.sh [BASE_PORT]
#
# They listen for clients at BASE_PORT (7001) and the two ports behind it, and speak to each other by
# multicast on the loopback interface, at the four UDP ports behind those. Their data are in kv/run,
# in a directory for each base port; a store that is started again serves what was there. Once all three
# serve, the line `ready` and their addresses stand on standard output. With METRICS=1 each serves metrics
# at one of the three ports behind those, or the next free one; standard error names the addresses. What
# the processes log is in 1.log to 3.log there, behind what earlier runs have left.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../bash/lib.sh"

refuse_unless_count $# 0 1 "[METRICS=1] run.sh [BASE_PORT]"
base=${1:-7001}
[[ $base =~ ^[1-9][0-9]{3,4}$ ]] && [ "$base" -le 65526 ] || refuse "run.sh: BASE_PORT $base is not in 1000..65526"
metrics=${METRICS:-0}
[[ $metrics =~ ^[01]$ ]] || refuse "run.sh: METRICS is $metrics; set it to 1 to have metrics, or to 0"
command -v flock >/dev/null || refuse "run.sh: there is no flock; install util-linux"

# PAXOS_KV_BIN, else the project's release build, which is made if there is none, or a source is newer.
binary=${PAXOS_KV_BIN:-$(dirname -- "$(release_binary "$PAXOS_HOME")")/paxos-kv}
own_up stop_all
if [ -z "${PAXOS_KV_BIN:-}" ]; then
    cd -- "$PAXOS_HOME"
    if ! is_program "$binary" || [ -n "$(find src kv/src kv/Cargo.toml Cargo.toml Cargo.lock -newer "$binary" -print -quit)" ]; then
        command -v cargo >/dev/null || refuse "run.sh: there is no cargo to build with; install Rust from https://rustup.rs"
        echo "building ..." >&2
        attend cargo build --release --quiet --package paxos-kv --bin paxos-kv || refuse "run.sh: the build failed"
    fi
fi
is_program "$binary" || refuse "run.sh: $binary is not a program"

place=$PAXOS_HOME/kv/run/$base
mkdir -p -- "$place"
cd -- "$place"
exec 9>lock
flock -n 9 || refuse "run.sh: a store with base port $base runs already in $place; end it, or choose another port"
cat >paxos.conf <<CONF
clients   239.0.0.1 $((base + 3))
proposers 239.0.0.1 $((base + 4))
acceptors 239.0.0.1 $((base + 5))
learners  239.0.0.1 $((base + 6))
cluster   kv-$base
data      data
retain    64MiB
snapshots snapshots
keepers   1 2 3
# Three processes share this host, so the roles of each take turns in one thread, and none polls for
# longer than it takes to hand a datagram from one thread to another.
role_threads shared
busy_poll_us 5
CONF

addresses=() before=()
for id in 1 2 3; do
    place_of_metrics=off
    [ "$metrics" = 0 ] || place_of_metrics=127.0.0.1:$((base + 6 + id))
    touch "$id.log"
    before[id]=$(wc -c <"$id.log")
    address=127.0.0.1:$((base + id - 1))
    addresses+=("$address")
    : >"ready-$id"
    start "$id.log" "$binary" --conf paxos.conf --id "$id" --listen "$address" \
        --metrics "$place_of_metrics" >"ready-$id" 9>&-
done
for id in 1 2 3; do
    until grep -q ready "ready-$id"; do
        if ! kill -0 "${STARTED[id - 1]}" 2>/dev/null; then
            tail -n 3 "$id.log" >&2
            refuse "run.sh: process $id has ended; see $place/$id.log"
        fi
        sleep 0.02
    done
done
echo "ready ${addresses[*]}"
if [ "$metrics" = 1 ]; then
    for id in 1 2 3; do
        tail -c +"$((before[id] + 1))" "$id.log" | sed -n "s/.* metrics are at /metrics of process $id are at /p" >&2
    done
fi
echo "end it with ctrl-C, or kill $$; the logs are in $place" >&2
# As long as one of them runs. Bash itself would say of one that was killed no more than that.
left=(1 2 3)
while [ ${#left[@]} -gt 0 ]; do
    status=0
    wait -n 2>/dev/null || status=$?
    for place in "${!left[@]}"; do
        id=${left[place]}
        kill -0 "${STARTED[id - 1]}" 2>/dev/null && continue
        unset 'left[place]'
        echo "process $id has ended with status $status; what it said is in $PWD/$id.log" >&2
    done
done
