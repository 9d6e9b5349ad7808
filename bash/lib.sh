#!/usr/bin/env bash
# What the scripts share. Sourced, never run.

# Regardless of what the user's shell exports or sets, the scripts read numbers, paths and files in
# one way: no decimal comma, no directories that `cd` prints and finds elsewhere, no refusal to
# write a log anew.
export LC_ALL=C
unset CDPATH POSIXLY_CORRECT
set +o noclobber +o posix

# A descriptor that the caller has closed would be the next file that is opened here.
[ -e /proc/self/fd/0 ] || exec 0</dev/null
[ -e /proc/self/fd/2 ] || exec 2>/dev/null
if [ ! -e /proc/self/fd/1 ]; then
    echo "standard output is closed; redirect it to /dev/null if nobody wants it" >&2
    exit 2
fi

# The comment at the top of a script is its manual; its arguments stand where they are checked.
case ${1:-} in
-h | --help)
    sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
    sed -n 's/^\(refuse_unless_count .* \|usage=\)"\([^$"]*\)"$/\nusage: \2/p' "$0"
    exit 0
    ;;
esac

# The project that these scripts belong to, even when one is called through a link.
PAXOS_HOME=$(cd -P -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/.." && pwd)

# One line on standard error, and status 2: something was typed that cannot be followed.
refuse() {
    printf '%s\n' "$*" >&2
    exit 2
}

# Paths in the environment are relative to the directory in which the script was called.
for variable in PAXOS_BIN PAXOS_CONF CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR; do
    case ${!variable:-} in
    "" | /*) ;;
    *) export "$variable=$PWD/${!variable}" ;;
    esac
done
unset variable

# release_binary PROJECT: where cargo puts the binary of a project.
release_binary() {
    printf '%s\n' "${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-$1/target}}/release/paxos"
}

# Prints the binary's path: $PAXOS_BIN, else the project's release build, else what PATH has.
find_paxos() {
    local built
    built=$(release_binary "$PAXOS_HOME")
    if [ -n "${PAXOS_BIN:-}" ]; then
        is_program "$PAXOS_BIN" || refuse "PAXOS_BIN=$PAXOS_BIN is not a program"
        printf '%s\n' "$PAXOS_BIN"
    elif is_program "$built"; then
        printf '%s\n' "$built"
    elif command -v paxos >/dev/null; then
        command -v paxos
    else
        refuse "there is no paxos binary, neither $built nor on PATH; build it: cargo build --release --manifest-path $PAXOS_HOME/Cargo.toml, and set PAXOS_BIN if cargo puts it elsewhere"
    fi
}

is_program() {
    [ -f "$1" ] && [ -x "$1" ]
}

# Builds the project of the working directory when it has no binary, or a source is newer than it, and
# sets PAXOS_BIN; does nothing but look if that is set.
build_if_stale() {
    local binary told
    if [ -n "${PAXOS_BIN:-}" ]; then
        binary=$(find_paxos) || exit
        return 0
    fi
    binary=$(release_binary "$PWD")
    if ! is_program "$binary" || [ -n "$(find src conf Cargo.toml Cargo.lock -newer "$binary" -print -quit)" ]; then
        command -v cargo >/dev/null || refuse "there is no cargo to build with; install Rust from https://rustup.rs"
        echo "building ..." >&2
        attend cargo build --release --quiet --bin paxos || refuse "the build failed"
        # Cargo's own configuration may name another place.
        told=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
        binary=$told/release/paxos
        is_program "$binary" || refuse "cargo has built no $binary; set PAXOS_BIN to the binary"
    fi
    export PAXOS_BIN=$binary
}

# refuse_unless_count GIVEN LEAST MOST USAGE: checks how many arguments there are.
refuse_unless_count() {
    if [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then
        refuse "usage: $4"
    fi
}

# setting CONF KEY: the configured value or the default, as the binary understands it.
setting() {
    "$PAXOS_BIN" --conf "$1" config "$2"
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

# The processes that this script started, to be stopped by stop_all.
STARTED=()

# own_up CLEAN_UP: from now on what this script starts ends with it, however it ends. At its end, and
# at a signal, CLEAN_UP is called; of a signal the script then dies itself, so that its caller
# sees why. When nothing can be called any more, the processes see to it (PAXOS_PARENT).
own_up() {
    clean_up=$1
    export PAXOS_PARENT=$$
    trap '"$clean_up"' EXIT
    local signal
    for signal in HUP INT TERM; do
        # shellcheck disable=SC2064 # the signal of this turn is meant
        trap "end_by $signal" "$signal"
    done
}

# end_by SIGNAL
end_by() {
    trap - EXIT
    trap '' HUP INT TERM
    "$clean_up"
    trap - "$1"
    kill -s "$1" "$$"
}

# start LOG COMMAND...: runs a command in the background, its standard error behind what is in the file LOG.
start() {
    local log=$1
    shift
    # Said aloud, or bash gives a background process an empty standard input.
    "$@" <&0 2>>"$log" &
    STARTED+=("$!")
}

# attend COMMAND...: runs a command, and follows signals meanwhile, which bash would keep until its end.
attend() {
    local status=0
    "$@" <&0 &
    STARTED+=("$!")
    wait "$!" || status=$?
    unset 'STARTED[-1]'
    return "$status"
}

# stop PID...: ends processes and waits for them. One that does not follow is killed.
stop() {
    local pid waited
    for pid in "$@"; do
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
    done
    for ((waited = 0; waited < 300; waited++)); do
        for pid in "$@"; do
            if kill -0 "$pid" 2>/dev/null; then
                sleep 0.01
                continue 2
            fi
        done
        break
    done
    for pid in "$@"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

# Ends everything that was started, in any state.
stop_all() {
    stop ${STARTED[@]+"${STARTED[@]}"}
    STARTED=()
}
