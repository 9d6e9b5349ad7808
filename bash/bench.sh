#!/usr/bin/env bash
# Measures a cluster on this host side by side with the machine's own limit (benches/limit.rs: the
# same processes and datagrams without any protocol) and with other systems (benches/peers), in one
# run. Every round runs all of them once, one after the other; what counts are the medians of the
# ratios within a round.
#
# Prints a table and leaves results/bench/: report.html (a page about it), runs.jsonl (every run),
# table.md, and charts. In the environment: ONLY=T1,T2 for some rows; PEERS=0 to leave other systems out and PEERS=1 to demand them
# (each runs when benches/peers/build.sh builds it); LONG=1 for a log of ten million instances, which
# takes 10 GB of memory; WIRE=1 to demand the rows that need network namespaces, which root may make,
# and WIRE=0 to leave them out; AGAINST=PATH to run another paxos binary in turn with this one, and
# nothing else: each row then says what this build's figure is to the other's.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
refuse_unless_count $# 0 2 "bench.sh [ROUNDS] [SECONDS]"
rounds=${1:-5} seconds=${2:-1}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "bench.sh: ROUNDS $rounds is not a whole number from 1 to 999"
[[ $seconds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "bench.sh: SECONDS $seconds is not a whole number from 1 to 999"
[[ ${WIRE:-0} =~ ^[01]$ ]] || refuse "bench.sh: WIRE=$WIRE is neither 0 nor 1"
command -v cargo >/dev/null || refuse "bench.sh: there is no cargo; install Rust from https://rustup.rs"
if [ -n "${AGAINST:-}" ]; then
    is_program "$AGAINST" || refuse "bench.sh: AGAINST=$AGAINST is not a program"
    AGAINST=$(realpath -- "$AGAINST")
fi
cd "$PAXOS_HOME"

# program NAME: builds a bench and prints where it is.
program() {
    local path
    path=$(cargo bench --no-run --bench "$1" 2>&1 | sed -n "s/.*(\\(.*\\/$1-[0-9a-f]*\\)).*/\\1/p")
    case $path in /*) ;; *) path=$PWD/$path ;; esac
    [ -x "$path" ] || refuse "bench.sh: it did not build; try: cargo bench --no-run --bench $1"
    printf '%s\n' "$path"
}

typed="bash/bench.sh $rounds $seconds"
for name in LONG WIRE PEERS ONLY; do
    [ -z "${!name:-}" ] || typed="$name=${!name} $typed"
done
options=(--command "$typed" --rounds "$rounds" --seconds "$seconds" --long "${LONG:-0}")
[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
[ -z "${WIRE:-}" ] || options+=(--wire "$WIRE")
compare=$(program compare)
if [ -n "${AGAINST:-}" ]; then
    exec "$compare" "${options[@]}" --against "$AGAINST"
fi
options+=(--limit "$(program limit)")
if [ "${PEERS:-}" != 0 ]; then
    for peer in libraries libpaxos etcd; do
        # The last line is the program's path, or why there is none.
        if said=$(benches/peers/build.sh "$peer" 2>&1); then
            options+=("--$peer" "${said##*$'\n'}")
        else
            said="the rows of $peer: ${said##*$'\n'} (benches/peers/build.sh $peer tells more)"
            [ "${PEERS:-}" != 1 ] || refuse "bench.sh: PEERS=1 demands $said"
            printf 'SKIPPED: %s\n' "$said" >&2
        fi
    done
fi
exec "$compare" "${options[@]}"
