#!/usr/bin/env bash
# Measures the store of kv/run.sh beside three members of etcd: etcd.sh [SECONDS] [ROUNDS]
#
# All run on this host, and are measured in turns, ROUNDS times (3), by kv/examples/load.rs: 50 connections
# that set, and then get, a key at a time, for SECONDS (3) each, values of 64 bytes and of 1 KiB. `one` has all
# connections at one process, which leads; `all` spreads them over the three. Both sync every write before they
# answer it, on the disk of TMPDIR and of this project; reads of both are linearizable. Prints a row for each:
# who, where, bytes of a value, test, operations a second, p50 and p99 in milliseconds.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../bash/lib.sh"

refuse_unless_count $# 0 2 "etcd.sh [SECONDS] [ROUNDS]"
seconds=${1:-3} rounds=${2:-3}
[[ $seconds =~ ^[1-9][0-9]{0,3}$ ]] || refuse "etcd.sh: SECONDS $seconds is not in 1..9999"
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "etcd.sh: ROUNDS $rounds is not in 1..999"
for program in etcd etcdctl; do
    command -v "$program" >/dev/null || refuse "etcd.sh: there is no $program; install etcd-server and etcd-client"
done
port=${KV_BENCH_PORT:-7451}
place=
clean_up() {
    stop_all
    if [ -n "$place" ]; then rm -rf -- "$place" "$PAXOS_HOME/kv/run/$port"; fi
}
own_up clean_up

# KV_LOAD_BIN, else the project's own, which is built.
load=${KV_LOAD_BIN:-$(dirname -- "$(release_binary "$PAXOS_HOME")")/examples/load}
if [ -z "${KV_LOAD_BIN:-}" ]; then
    command -v cargo >/dev/null || refuse "etcd.sh: there is no cargo to build with; install Rust from https://rustup.rs"
    echo "building ..." >&2
    attend cargo build --release --quiet --manifest-path "$PAXOS_HOME/Cargo.toml" --package paxos-kv --example load ||
        refuse "etcd.sh: the build failed"
fi
is_program "$load" || refuse "etcd.sh: $load is not a program; set KV_LOAD_BIN to kv/examples/load.rs, built"

place=$(mktemp -d "${TMPDIR:-/tmp}/paxos-kv-etcd.XXXXXX")
start "$place/store.log" "$PAXOS_HOME/kv/run.sh" "$port" >"$place/ready"
until grep -q ready "$place/ready"; do
    kill -0 "${STARTED[0]}" 2>/dev/null || refuse "etcd.sh: $(tail -n 1 "$place/store.log")"
    sleep 0.1
done
store=127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))

# Six ports for etcd, behind the seven of the store: for clients, and for the other members.
members="" etcd=""
for id in 0 1 2; do
    members+=${members:+,}m$id=http://127.0.0.1:$((port + 13 + id))
    etcd+=${etcd:+,}127.0.0.1:$((port + 10 + id))
done
for id in 0 1 2; do
    client=http://127.0.0.1:$((port + 10 + id)) peer=http://127.0.0.1:$((port + 13 + id))
    start "$place/etcd-$id.log" etcd --name "m$id" --data-dir "$place/etcd-$id" --initial-cluster "$members" \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --logger zap >/dev/null
done
# Prints where the member listens that leads, once there is one.
leader() {
    ETCDCTL_API=3 etcdctl --endpoints "$etcd" endpoint status --write-out fields 2>/dev/null |
        awk -F ' : ' '{ told[$1] = $2 }
            $1 == "\"Endpoint\"" { if (told["\"MemberID\""] == told["\"Leader\""]) { gsub("\"", "", $2); print $2 } }'
}
until leader=$(leader) && [ -n "$leader" ]; do
    for id in 0 1 2; do
        kill -0 "${STARTED[id + 1]}" 2>/dev/null || refuse "etcd.sh: etcd has ended: $(tail -n 1 "$place/etcd-$id.log")"
    done
    sleep 0.1
done

# row WHO WHERE ADDRESSES
row() {
    local told
    told=$("$load" "$1" "$test" "$3" 50 "$bytes" "$seconds") || refuse "etcd.sh: the load of $1 failed; its process has said why"
    echo "$1,$2,$bytes,$test,$told"
}

echo "who,where,bytes,test,per_second,p50_ms,p99_ms"
for ((round = 1; round <= rounds; round++)); do
    for bytes in 64 1024; do
        for test in set get; do
            row store one "${store%%,*}"
            row etcd one "$leader"
            row store all "$store"
            row etcd all "$etcd"
        done
    done
done
