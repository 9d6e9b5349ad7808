#!/usr/bin/env bash
# Measures the store of kv/run.sh beside one redis-server that syncs every write: bench.sh [REQUESTS]
#
# Both run on this host, one after the other, under redis-benchmark with 50 connections. REQUESTS (20000)
# is how many each test sends without a pipeline; with one of 16 it sends five times as many. Prints a row
# for each: who, pipeline, bytes of a value, test, requests a second, p50 and p99 in milliseconds.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../bash/lib.sh"

refuse_unless_count $# 0 1 "bench.sh [REQUESTS]"
requests=${1:-20000}
[[ $requests =~ ^[1-9][0-9]{0,8}$ ]] || refuse "bench.sh: REQUESTS $requests is not a whole number from 1 to 999999999"
for program in redis-server redis-benchmark; do
    command -v "$program" >/dev/null || refuse "bench.sh: there is no $program; install redis-server and redis-tools"
done
port=${KV_BENCH_PORT:-7451}

place=$(mktemp -d "${TMPDIR:-/tmp}/paxos-kv-bench.XXXXXX")
clean_up() {
    stop_all
    rm -rf -- "$place" "$PAXOS_HOME/kv/run/$port"
}
own_up clean_up

# measure NAME PORT
measure() {
    local bytes pipeline
    for pipeline in 1 16; do
        for bytes in 64 1024; do
            redis-benchmark -p "$2" -c 50 -P "$pipeline" -d "$bytes" \
                -n $((pipeline == 1 ? requests : 5 * requests)) -t set,get,incr,lpush,hset,mset --csv 2>/dev/null |
                tr -d '"' | awk -F, -v row="$1,$pipeline,$bytes" 'NR > 1 { print row "," $1 "," $2 "," $5 "," $7 }'
        done
    done
}

echo "who,pipeline,bytes,test,rps,p50_ms,p99_ms"
start "$place/store.log" "$PAXOS_HOME/kv/run.sh" "$port" >"$place/ready"
until grep -q ready "$place/ready"; do
    kill -0 "${STARTED[0]}" 2>/dev/null || refuse "bench.sh: $(tail -n 1 "$place/store.log")"
    sleep 0.1
done
measure store "$port"
stop_all
mkdir "$place/redis"
start "$place/redis.log" redis-server --port "$port" --bind 127.0.0.1 --dir "$place/redis" --save "" \
    --appendonly yes --appendfsync always >/dev/null
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done
measure redis "$port"
