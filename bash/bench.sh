#!/usr/bin/env bash
# Measures a cluster on this host side by side with the machine's own limit (benches/limit.rs): the
# same processes and datagrams without any protocol. Every round runs all of them once, one after
# the other; what counts are the medians of the ratios within a round.
#
# usage: bench.sh [ROUNDS] [SECONDS]
#
# Prints a table and leaves results/bench/runs.jsonl (every run) and results/bench/table.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
refuse_unless_count $# 0 2 "bench.sh [ROUNDS] [SECONDS]"
rounds=${1:-5} seconds=${2:-2}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "bench.sh: ROUNDS $rounds is not a whole number from 1"
[[ $seconds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "bench.sh: SECONDS $seconds is not a whole number from 1"
command -v cargo >/dev/null || refuse "bench.sh: there is no cargo; install Rust from https://rustup.rs"
cd "$PAXOS_HOME"
cargo build --release --quiet --bin paxos
PAXOS_BIN=$PWD/target/release/paxos
export PAXOS_BIN
limit=$(cargo bench --no-run --bench limit 2>&1 | sed -n 's/.*(\(target.*limit-[0-9a-f]*\)).*/\1/p')
[ -x "$limit" ] || refuse "bench.sh: the limit did not build; try: cargo bench --no-run --bench limit"

out=results/bench
mkdir -p "$out"
runs=$out/runs.jsonl
: >"$runs"
work=$(mktemp -d)
trap 'stop_all; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$PAXOS_BIN" keygen "$work/paxos.key"
base=$((20000 + $$ % 3000 * 4))

# write_conf MORE...: a configuration of this run alone.
write_conf() {
    {
        printf 'clients 239.0.0.1 %d\nproposers 239.0.0.1 %d\n' "$base" "$((base + 1))"
        printf 'acceptors 239.0.0.1 %d\nlearners 239.0.0.1 %d\n' "$((base + 2))" "$((base + 3))"
        printf 'cluster bench-%d\n' "$$"
        printf '%s\n' "$@"
    } >"$work/paxos.conf"
}

# ours NAME CONF-LINE BENCH-OPTIONS...: one run of a fresh cluster: 3 acceptors, 1 proposer, 1
# learner.
ours() {
    local name=$1 more=$2 id
    shift 2
    rm -rf "$work/data" "$work/results"
    write_conf "$more"
    for id in 1 2 3; do
        start "$work/acceptor$id.log" "$PAXOS_BIN" --conf "$work/paxos.conf" acceptor "$id"
    done
    start "$work/learner1.log" "$PAXOS_BIN" --conf "$work/paxos.conf" learner 1 --results "$work/results" >/dev/null
    start "$work/proposer1.log" "$PAXOS_BIN" --conf "$work/paxos.conf" proposer 1
    sleep 0.3
    local line
    line=$("$PAXOS_BIN" --conf "$work/paxos.conf" bench --json --duration "$seconds" "$@")
    stop_all
    record "$name" "$line"
}

# null NAME LIMIT-OPTIONS...
null() {
    local name=$1
    shift
    record "$name" "$("$limit" --seconds "$seconds" "$@")"
}

# record NAME JSON: adds a run to the file.
record() {
    printf '{"round":%d,"run":"%s",%s\n' "$round" "$1" "${2#\{}" >>"$runs"
}

for ((round = 1; round <= rounds; round++)); do
    printf '\rround %d of %d ' "$round" "$rounds" >&2
    null l1_null --outstanding 1
    ours l1 ""  --outstanding 1
    null l1_null_block --outstanding 1 --busy-poll-us 0
    ours l1_block "busy_poll_us 0" --outstanding 1
    null t1_null --outstanding 64 --values-per-datagram 1
    ours t1 "" --outstanding 64 --values-per-datagram 1
    ours k1 "key_file $work/paxos.key" --outstanding 64 --values-per-datagram 1
    null t2_null --outstanding 256 --values-per-datagram 16
    ours t2 "" --outstanding 4096
    null v1_null --outstanding 64 --size 1024
    ours v1 "" --outstanding 64 --size 1024
    null v8_null --outstanding 32 --size 8192
    ours v8 "" --outstanding 32 --size 8192
    ours d1 "data $work/data" --outstanding 1
    ours d2 "data $work/data" --outstanding 64 --values-per-datagram 1
done
printf '\r                    \r' >&2

# median RUN KEY [OTHER-RUN [OTHER-KEY]]: of a figure, or of its ratios to another's in each round.
median() {
    awk -v run="$1" -v key="$2" -v other="${3:-}" -v other_key="${4:-$2}" '
        function figure(name,    found) {
            found = match($0, "\"" name "\":[0-9.e+-]+")
            return found ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 : 0
        }
        match($0, /"round":[0-9]+/) { round = substr($0, RSTART + 8, RLENGTH - 8) + 0 }
        index($0, "\"run\":\"" run "\"") { mine[round] = figure(key) }
        index($0, "\"run\":\"" other "\"") { theirs[round] = figure(other_key) }
        END {
            for (round in mine) {
                if (other == "") value[++count] = mine[round]
                else if (theirs[round] > 0) value[++count] = mine[round] / theirs[round]
            }
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && value[j - 1] > value[j]; j--) {
                    swap = value[j]; value[j] = value[j - 1]; value[j - 1] = swap
                }
            middle = count % 2 ? value[(count + 1) / 2] : (value[count / 2] + value[count / 2 + 1]) / 2
            if (other == "") printf "%.0f [%.0f-%.0f]", middle, value[1], value[count]
            else printf "%.2f [%.2f-%.2f]", middle, value[1], value[count]
        }' "$runs"
}

# row ID WORK RUN OTHER KEY AIM UNIT
row() {
    printf '| %s | %s | %s %s | %s | %s | %s |\n' "$1" "$2" "$(median "$3" "$5")" "$7" \
        "$(median "$4" "$5")" "$(median "$3" "$5" "$4")" "$6"
}

{
    printf '| id | work | ours | against | ratio, median [least-most] | aim |\n|---|---|---|---|---|---|\n'
    row L1 '1 outstanding, 64 B, p50' l1 l1_null p50_us '<= 1.25' us
    row L1 '... p99' l1 l1_null p99_us '<= 1.5' us
    row L1b '1 outstanding, no polling, p50' l1_block l1_null_block p50_us '<= 1.25' us
    row T1 '64 outstanding, one value a datagram' t1 t1_null values_per_second '>= 0.75' /s
    row T2 '4096 outstanding, packed; limit: 256, 16 a datagram' t2 t2_null values_per_second '>= 0.4' /s
    row V1 '64 outstanding, 1 KiB' v1 v1_null values_per_second '>= 0.6' /s
    row V8 '32 outstanding, 8 KiB' v8 v8_null values_per_second '>= 0.6' /s
    row K1 'T1 with a key, against own T1' k1 t1 values_per_second '>= 0.85' /s
    row D1 'durable, 1 outstanding, p50, against own L1' d1 l1 p50_us '' us
    row D2 'durable, 64 outstanding, against own T1' d2 t1 values_per_second '>= 0.5' /s
} | tee "$out/table.md"
