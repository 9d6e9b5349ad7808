#!/usr/bin/env bash
# What the scripts share. Sourced, never run.

# The project that these scripts belong to.
PAXOS_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# One line on standard error, and status 2: something was typed that cannot be followed.
refuse() {
    printf '%s\n' "$*" >&2
    exit 2
}

# Prints the binary's path: $PAXOS_BIN, else the project's release build, else what PATH has.
find_paxos() {
    if [ -n "${PAXOS_BIN:-}" ]; then
        [ -x "$PAXOS_BIN" ] || refuse "PAXOS_BIN=$PAXOS_BIN is not a program"
        printf '%s\n' "$PAXOS_BIN"
    elif [ -x "$PAXOS_HOME/target/release/paxos" ]; then
        printf '%s\n' "$PAXOS_HOME/target/release/paxos"
    elif command -v paxos >/dev/null; then
        command -v paxos
    else
        refuse "there is no paxos binary; build it: cargo build --release --manifest-path $PAXOS_HOME/Cargo.toml"
    fi
}

# Builds the project of the working directory when it has no binary, or a source is newer than it, and
# sets PAXOS_BIN; does nothing if that is set.
build_if_stale() {
    local binary=$PWD/target/release/paxos
    [ -z "${PAXOS_BIN:-}" ] || return 0
    if [ ! -x "$binary" ] || [ -n "$(find src Cargo.toml Cargo.lock -newer "$binary" -print -quit)" ]; then
        command -v cargo >/dev/null || refuse "there is no cargo to build with; install Rust from https://rustup.rs"
        echo "building ..." >&2
        cargo build --release --quiet --bin paxos || refuse "the build failed"
    fi
    export PAXOS_BIN=$binary
}

# refuse_unless_count GIVEN LEAST MOST USAGE: checks how many arguments there are.
refuse_unless_count() {
    if [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then
        refuse "usage: $4"
    fi
}

# Prints how many acceptors the configuration file $1 names; 3 unless it says otherwise.
acceptor_count() {
    local count
    count=$(sed -e 's/#.*//' -e 's/\r$//' "$1" | awk '$1 == "acceptor_count" { print $2 }' | tail -n 1)
    printf '%s\n' "${count:-3}"
}

# print_groups BASE: the lines of groups at the ports from BASE on. With PAXOS_TEST_NETWORK=unicast
# they are lists of members, for every id that scenarios use.
print_groups() {
    local -a roles=(clients proposers acceptors learners) counts=(4 4 3 4)
    local place id
    for place in 0 1 2 3; do
        if [ "${PAXOS_TEST_NETWORK:-}" = unicast ]; then
            printf '%s unicast' "${roles[place]}"
            for ((id = 1; id <= counts[place]; id++)); do
                printf ' 127.0.0.%d:%d' "$id" "$(($1 + place))"
            done
            printf '\n'
        else
            printf '%s 239.0.0.1 %d\n' "${roles[place]}" "$(($1 + place))"
        fi
    done
}

# Empties the folder $1, but for hidden files and files that git tracks.
empty_folder() {
    local entry
    [ -d "$1" ] || return 0
    for entry in "$1"/*; do
        [ -e "$entry" ] || [ -L "$entry" ] || continue
        if [ -z "$(git -C "$1" ls-files -- "$(basename "$entry")" 2>/dev/null)" ]; then
            rm -rf -- "$entry"
        fi
    done
}

# The processes that this script started, to be stopped by stop_all.
STARTED=()

# start LOG COMMAND...: runs a command in the background, its standard error in the file LOG.
start() {
    local log=$1
    shift
    # Said aloud, or bash gives a background process an empty standard input.
    "$@" <&0 2>"$log" &
    STARTED+=("$!")
}

# stop PID...: ends processes and waits for them.
stop() {
    local pid
    for pid in "$@"; do
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
    done
    for pid in "$@"; do
        wait "$pid" 2>/dev/null || true
    done
}

# Ends everything that was started, in any state.
stop_all() {
    stop ${STARTED[@]+"${STARTED[@]}"}
    STARTED=()
}
