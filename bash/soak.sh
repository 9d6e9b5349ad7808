#!/usr/bin/env bash
# A whole durable cluster on this host, fed without a pause, while its processes are killed and come
# back, and sleep and wake, at random. Ends with a verdict.
#
# Two clients feed values in rounds; a client's next round begins when all of the last one is
# decided, so that both are one long list to the checker. A learner that comes back begins its file
# anew and fetches everything again. The file of an earlier incarnation is kept, and must be the
# beginning of the last one, byte for byte: nothing that was decided may change.
#
# LIMITS=1 in the environment: every limit is small, values are long, and learners keep a digest and
# snapshots of it, so that most of the log is soon removed and those that come back go on without it.
# Then memory and disk must stay below a bound however long it goes on, and no two digests of one
# position may differ, whatever learner printed them in whichever of its lives.
#
# Status 0: all holds. 1: something does not, and it is said what; the files are kept. 2: unusable
# arguments.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 1 2 "soak.sh SECONDS [SEED]"
[[ $1 =~ ^[1-9][0-9]{0,6}$ ]] || refuse "soak.sh: SECONDS $1 is not a whole number from 1 to 9999999"
[[ ${2:-1} =~ ^[0-9]{1,9}$ ]] || refuse "soak.sh: SEED $2 is not a whole number from 0 to 999999999"
[[ ${LIMITS:-0} =~ ^[01]$ ]] || refuse "soak.sh: LIMITS=$LIMITS is neither 0 nor 1"
soak_seconds=$1 seed=${2:-$RANDOM} limits=${LIMITS:-0}

source "$PAXOS_HOME/bash/test_runs/lib.sh"

# How many values a round has, and how long a client rests after it.
ROUND_VALUES=100
ROUND_REST=0.2
# The same with limits, and what makes the values long.
LIMITED_ROUND_VALUES=1000
LONG_VALUE=$(printf 'x%.0s' {1..1000})
# How many of them are more than twice what may be on disk.
LIMITED_ENOUGH=350000
# How many bytes a decided instance may cost: memory of one process, disk of one acceptor.
MEMORY_BYTES_MAX=2048
DISK_BYTES_MAX=256
# After how many steps a process has surely opened what it opens at its start, on a busy machine as well.
STARTED_STEPS=5
# How much memory a process may gain in a second in which nothing is decided, in KiB.
IDLE_KIB_MAX=256
# With limits: how much memory a process may use, and how much disk an acceptor: what is retained,
# half as much again, two segments of 64 MiB, and what comes in while a keeper is away.
LIMITED_KIB_MAX=$((96 * 1024))
LIMITED_DISK_BYTES_MAX=$((192 * 1024 * 1024))

nodes=(acceptor{1,2,3} proposer{1,2,3} learner{1,2})
lifetime=$((soak_seconds + 120))
RANDOM=$seed
started_at=$EPOCHREALTIME

# What each node is: up, killed or paused; and in which step it came up.
declare -A state_of born_of
# For each process: descriptors, KiB and decided instances at the first look. By the name of its
# node, for the system gives the number of a process that has ended to another.
declare -A first_fds first_kib first_decided
lives=0
# With limits: the most that was seen.
most_kib=0
most_bytes=0
step=0
faults=0

# now: seconds since the start.
now() {
    awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $started_at }"
}

fail() {
    echo "soak.sh: $* (seed $seed)" >&2
    exit 1
}

# chance COUNT: true once in COUNT times.
chance() {
    [ $((RANDOM % $1)) -eq 0 ]
}

# count_not STATE PREFIX: how many nodes whose name begins with PREFIX are in another state than STATE.
count_not() {
    local name counted=0
    for name in "${nodes[@]}"; do
        if [[ $name == "$2"* ]] && [ "${state_of[$name]}" != "$1" ]; then
            counted=$((counted + 1))
        fi
    done
    echo "$counted"
}

# decided: how many instances the learner that has most has.
decided() {
    local one two
    if [ "$limits" -eq 1 ]; then
        # The greatest position of which either has printed a digest.
        sort -n results/learner?.out | sed -n '$s/ .*//p' | grep . || echo 0
        return
    fi
    one=$(line_count results/learner1_decided_value)
    two=$(line_count results/learner2_decided_value)
    echo $((one > two ? one : two))
}

# disk_bytes DIRECTORY...: what the acceptors with these directories keep. One may remove a segment meanwhile.
disk_bytes() {
    local -a files=("${@/%//log-*}")
    # shellcheck disable=SC2048,SC2086 # these are patterns
    { cat ${files[*]} 2>/dev/null || true; } | wc -c
}

kib_of() {
    awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"
}

fds_of() {
    local -a fds=("/proc/$1/fd/"*)
    echo "${#fds[@]}"
}

# expect_quiet NAME: demands that a node's log has no error.
expect_quiet() {
    if grep -E 'ERROR|panicked' "results/$1.log" >&2; then
        fail "$1 says that something is wrong"
    fi
}

# How many more descriptors an acceptor may have for a moment than when it was looked at first: its log, a
# segment that begins, and one that is read.
readonly FDS_MORE=3

# look: every process that should live does, and holds no more descriptors than when it had been up for a
# while, but for those of the moment.
look() {
    local name pid fds
    for name in "${nodes[@]}"; do
        [ "${state_of[$name]}" != killed ] || continue
        pid=${pid_of[$name]}
        if ! kill -0 "$pid" 2>/dev/null; then
            cat "results/$name.log" >&2
            fail "$name ended by itself"
        fi
        [ "${born_of[$name]}" -lt "$step" ] || continue
        if [ "$limits" -eq 1 ]; then look_at_limits "$name"; fi
        fds=$(fds_of "$pid")
        if [ -z "${first_fds[$name]:-}" ]; then
            [ "${state_of[$name]}" = up ] && [ $((born_of[$name] + STARTED_STEPS)) -lt "$step" ] || continue
            first_fds[$name]=$fds
            first_kib[$name]=$(kib_of "$pid")
            first_decided[$name]=$(decided)
        elif [ "$fds" -gt $((first_fds[$name] + FDS_MORE)) ]; then
            fail "$name had ${first_fds[$name]} descriptors and now has $fds"
        fi
    done
}

# look_at_limits NAME: a process, and what an acceptor keeps, is no larger than it may be.
look_at_limits() {
    local kib bytes
    kib=$(kib_of "${pid_of[$1]}")
    if [ "$kib" -gt "$most_kib" ]; then most_kib=$kib; fi
    [ "$kib" -le "$LIMITED_KIB_MAX" ] || fail "$1 has $kib KiB of memory"
    if [[ $1 == acceptor* ]]; then
        bytes=$(disk_bytes "data/acceptor-${1#acceptor}")
        if [ "$bytes" -gt "$most_bytes" ]; then most_bytes=$bytes; fi
        [ "$bytes" -le "$LIMITED_DISK_BYTES_MAX" ] || fail "$1 has $bytes bytes on disk"
    fi
}

# bring_up NAME: ends what keeps a node down.
bring_up() {
    local name=$1 file=results/$1_decided_value
    if [ "$limits" -eq 1 ]; then file=results/$1.out; fi
    case ${state_of[$name]} in
        paused)
            resume_node "$name"
            # It may have been paused in the middle of its start.
            [ -n "${first_fds[$name]:-}" ] || born_of[$name]=$step
            ;;
        killed)
            if [ -e "$file" ]; then
                lives=$((lives + 1))
                # A kill may have torn the last line.
                sed -n "1,$(line_count "$file")p" "$file" >"before/$name-$lives"
            fi
            restart_node "$name"
            born_of[$name]=$step
            unset "first_fds[$name]" "first_kib[$name]" "first_decided[$name]"
            ;;
    esac
    state_of[$name]=up
    echo "$(now) s: $name is back"
}

# take_down STATE NAME...: kills or pauses nodes.
take_down() {
    local state=$1 name
    shift
    if [ "$state" = killed ]; then kill_node "$@"; else pause_node "$1"; fi
    for name in "$@"; do
        [ "$state" = paused ] || expect_quiet "$name"
        state_of[$name]=$state
        faults=$((faults + 1))
        echo "$(now) s: $name is $state"
    done
}

# strike: one random fault. A majority of acceptors, a proposer and a learner stay up, but for
# all acceptors dying at once now and then.
strike() {
    local name=${nodes[RANDOM % ${#nodes[@]}]} role state=killed
    if chance 10 && [ "$(count_not up acceptor)" -eq 0 ]; then
        take_down killed acceptor1 acceptor2 acceptor3
        sleep 0.5
        for name in acceptor1 acceptor2 acceptor3; do bring_up "$name"; done
        return
    fi
    [ "${state_of[$name]}" = up ] || return 0
    role=${name%[0-9]}
    case $role in
        proposer) [ "$(count_not up "$role")" -lt 2 ] || return 0 ;;
        *) [ "$(count_not up "$role")" -lt 1 ] || return 0 ;;
    esac
    if chance 3; then state=paused; fi
    take_down "$state" "$name"
}

# feed_rounds ID: feeds values in rounds until the file `enough` is there.
feed_rounds() {
    local client=
    trap 'kill "$client" 2>/dev/null; exit 143' TERM
    while [ ! -e enough ]; do
        if [ "$limits" -eq 1 ]; then
            "$here/generate.sh" "$LIMITED_ROUND_VALUES" | sed "s/\$/ $LONG_VALUE/" >"round$1"
        else
            "$here/generate.sh" "$ROUND_VALUES" >"round$1"
        fi
        # Nothing is judged by it with limits, and it would have no limit itself.
        [ "$limits" -eq 1 ] || cat "round$1" >>"results/propose$1.txt"
        "$here/client.sh" "$1" "$conf" 0 "$lifetime" auto <"round$1" 2>"results/client$1.log" &
        client=$!
        wait "$client" || exit 1
        sleep "$ROUND_REST"
    done
}

echo "soak.sh: $soak_seconds seconds, seed $seed"
durable
mkdir before
if [ "$limits" -eq 1 ]; then
    printf '%s\n' "memory_bytes 64MiB" "retain 16MiB" "snapshots snapshots" "keepers 1 2" \
        "snapshot_copies 1" "snapshot_instances 4096" >>"$conf"
fi
start_acceptors 3
for id in 1 2; do
    if [ "$limits" -eq 1 ]; then
        output_of[learner$id]=results/learner$id.out
        start_node "learner$id" "$PAXOS_BIN" --conf "$conf" learner "$id" --lifetime "$lifetime" \
            --apply digest >"results/learner$id.out"
    else
        start_learner "$id"
    fi
done
start_proposers 3
for name in "${nodes[@]}"; do
    state_of[$name]=up
    born_of[$name]=0
done
feeders=()
for id in 1 2; do
    feed_rounds "$id" &
    STARTED+=("$!")
    feeders+=("$!")
done

if [ "$limits" -eq 1 ]; then
    await_lines 1 results/learner1.out
else
    await_more 500 results/learner1_decided_value
fi
# is_over: whether there were faults for long enough, and, with limits, enough was decided to tell whether
# the log is removed. On a slow machine it goes on for that, but not for long.
is_over() {
    local seconds=$((${EPOCHREALTIME%.*} - ${started_at%.*}))
    [ "$seconds" -ge "$soak_seconds" ] || return 1
    [ "$limits" -eq 0 ] || [ "$seconds" -ge $((soak_seconds + 60)) ] || [ "$(decided)" -ge "$LIMITED_ENOUGH" ]
}

until is_over; do
    step=$((step + 1))
    attend sleep "$((RANDOM % 2)).$((RANDOM % 5 + 5))"
    look
    for name in "${nodes[@]}"; do
        if [ "${state_of[$name]}" != up ] && chance 2; then bring_up "$name"; fi
    done
    strike
done

# The faults are over: every requested value is decided, and every learner has it.
for name in "${nodes[@]}"; do
    [ "${state_of[$name]}" = up ] || bring_up "$name"
done
touch enough
for feeder in "${feeders[@]}"; do
    for ((waited = 0; waited < 600; waited++)); do
        kill -0 "$feeder" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$feeder" 2>/dev/null; then fail "a client does not get its values decided"; fi
    wait "$feeder" || fail "a client did not end well: $(cat results/client?.log)"
done
[ "$limits" -eq 1 ] || attend "$PAXOS_BIN" watch 2 2 auto auto --timeout 60 >/dev/null 2>&1 || fail "the learners do not get complete"

# Memory and disk grow with what is decided, and with nothing else: soon nothing grows any more. Who
# came back late may still fetch what it missed.
declare -A kib
# measure: remembers the memory of every node, and the disk of all acceptors.
measure() {
    local name
    for name in "${nodes[@]}"; do kib[$name]=$(kib_of "${pid_of[$name]}"); done
    disk=$(disk_bytes data/acceptor-{1,2,3})
}

# still_growing: measures again a second later. True if something has grown, which `growing` names.
still_growing() {
    local name disk_before=$disk
    local -A kib_before
    for name in "${nodes[@]}"; do kib_before[$name]=${kib[$name]}; done
    sleep 1
    measure
    growing=
    for name in "${nodes[@]}"; do
        if [ "${kib[$name]}" -gt $((kib_before[$name] + IDLE_KIB_MAX)) ]; then
            growing+=" the memory of $name (from ${kib_before[$name]} to ${kib[$name]} KiB)"
        fi
    done
    [ "$disk" -eq "$disk_before" ] || growing+=" the acceptors' data (from $disk_before to $disk bytes)"
    [ -n "$growing" ]
}

step=$((step + 1))
total=$(decided)
look
measure
for ((tries = 0; tries < 10; tries++)); do
    still_growing || break
done
[ -z "$growing" ] || fail "while nothing is decided, this grows for ever:$growing"
look
if [ "$limits" -eq 1 ]; then
    stop_all
    echo "faults: $faults; instances: $total"
    echo "memory of a process: $most_kib KiB at most; disk of an acceptor: $most_bytes bytes at most"
    if [ "$total" -lt "$LIMITED_ENOUGH" ]; then
        echo "too few were decided to tell whether the log is removed"
    elif [ $((disk / 3)) -gt $((total * 500)) ]; then
        fail "an acceptor still keeps $((disk / 3)) bytes of $total values of more than 1000 each"
    fi
    for name in "${nodes[@]}"; do expect_quiet "$name"; done
    # At its end each learner says how far it is.
    for id in 1 2; do tail -n 1 "results/learner$id.out" >"end$id"; done
    cmp end1 end2 || fail "the learners end with $(cat end1) and $(cat end2)"
    differing=$(cat results/learner?.out before/* 2>/dev/null | sort -u | cut -d ' ' -f 1 | uniq -d)
    [ -z "$differing" ] || fail "there are two digests of" $differing
    echo "earlier lives of learners: $lives, with the digests of the last"
    exit 0
fi
declare -A dearest
for name in "${nodes[@]}"; do
    [ -n "${first_decided[$name]:-}" ] || continue
    gained=$((total - first_decided[$name]))
    # Of few instances, the pages of the allocator would be all one sees.
    [ "$gained" -ge 5000 ] || continue
    bytes=$(((kib[$name] - first_kib[$name]) * 1024 / gained))
    role=${name%[0-9]}
    if [ "$bytes" -gt "${dearest[$role]:--1}" ]; then dearest[$role]=$bytes; fi
done
stop_all

echo "faults: $faults; decided: $total"
for role in acceptor proposer learner; do
    if [ -z "${dearest[$role]:-}" ]; then
        echo "memory of ${role}s: none lived through enough decisions to tell"
        continue
    fi
    echo "memory of ${role}s: ${dearest[$role]} bytes per decided instance at most"
    [ "${dearest[$role]}" -le "$MEMORY_BYTES_MAX" ] || fail "that is more than $MEMORY_BYTES_MAX"
done
disk_each=$((disk / 3 / total))
echo "disk of each acceptor: $disk_each bytes per decided instance"
[ "$disk_each" -le "$DISK_BYTES_MAX" ] || fail "that is more than $DISK_BYTES_MAX"

for name in "${nodes[@]}"; do expect_quiet "$name"; done
for earlier in before/*; do
    [ -e "$earlier" ] || continue
    name=${earlier#before/}
    final=results/${name%-*}_decided_value
    cmp -n "$(stat -c %s "$earlier")" "$earlier" "$final" || fail "$name wrote something else"
done
cmp results/learner1_decided_value results/learner2_decided_value || fail "the learners differ"
echo "earlier lives of learners: $lives, each the beginning of the last"
attend "$here/check_results.sh" 2 2 false auto auto || fail "the verdict is not what it should be"
