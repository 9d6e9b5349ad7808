#!/usr/bin/env bash
# Runs the scripts once as other people's shells would: with an exported CDPATH, a locale with a
# decimal comma, noclobber, a CARGO_TARGET_DIR, POSIX mode, through a link, by `sh`, from another
# directory, by relative names, from a path with blanks, quotes and a glob, and with closed descriptors.
# Each must do what it does anywhere.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 0 1 "hostile.sh [BINARY]"
binary=${1:-$(find_paxos)}
binary=$(realpath -- "$binary")
is_program "$binary" || refuse "hostile.sh: $binary is not a program"

place=$(mktemp -d "${TMPDIR:-/tmp}/paxos-hostile.XXXXXX")
clean_up() {
    stop_all
    rm -rf -- "$place"
}
own_up clean_up

# A project in a path that breaks scripts which forget to quote, beside a directory that CDPATH
# finds instead.
project="$place/my [p]roject's \$HOME  *"
mkdir -p "$project" "$place/decoy/bash" "$place/decoy/results" "$place/target/release" "$place/tmp dir"
cp -a "$PAXOS_HOME/bash" "$PAXOS_HOME/conf" "$PAXOS_HOME/Cargo.toml" "$PAXOS_HOME/Cargo.lock" "$PAXOS_HOME/src" "$PAXOS_HOME/kv" "$project"
cp "$binary" "$place/target/release/paxos"
touch "$place/target/release/paxos"
ln -s "$project/bash/run.sh" "$place/run-link"
ln -s "$project/bash" "$place/bash-link"
cp "$project/conf/paxos.conf" "$place/mine.conf"
ln -s "$binary" "$place/a-paxos"

# A locale that writes a half as 0,5, if the system can make or has one.
comma=C
if mkdir "$place/locale" && localedef -i de_DE -f UTF-8 "$place/locale/de_DE.UTF-8" 2>/dev/null; then
    export LOCPATH="$place/locale"
    comma=de_DE.UTF-8
fi

unset PAXOS_BIN PAXOS_CONF PAXOS_PARENT FIRST_INSTANCE RUST_LOG
verdict=$'Integrity: True\nAgreement: True\nTermination: True (100%)'
failed=0

# as NAME DIRECTORY COMMAND...: a command in a directory; its standard output must end in the verdict.
as() {
    local name=$1 told status=0
    told=$(cd -- "$2" >/dev/null && "${@:3}" 2>"$place/said") || status=$?
    if [ "$status" -eq 0 ] && [[ $told == *"$verdict" ]]; then
        echo "holds: $name"
        return
    fi
    printf 'FAILS: %s (status %s)\n%s\n' "$name" "$status" "$told" >&2
    cat "$place/said" >&2
    failed=1
}

built=(env "CARGO_TARGET_DIR=$place/target")
as "CARGO_TARGET_DIR, and a path with blanks, quotes and a glob" "$project" "${built[@]}" bash/run.sh . 50 10
as "a relative CARGO_TARGET_DIR, from another directory" "$place" env CARGO_TARGET_DIR=target "$project/bash/run.sh" "$project" 50 10
export PAXOS_BIN=$binary
as "an exported CDPATH" "$project" env CDPATH="$place/decoy:$place:." bash bash/run.sh . 50 10
as "a decimal comma" "$project" env LC_ALL="$comma" bash/run.sh . 50 10.5 0.1
as "noclobber, nounset and errexit" "$project" env SHELLOPTS=noclobber:nounset:errexit bash/run.sh . 50 10
as "POSIX mode" "$project" env POSIXLY_CORRECT=1 bash/run.sh . 50 10
as "sh" "$project" sh bash/run.sh . 50 10
as "through a link to the script" / "$place/run-link" "$project" 50 10
as "through a link to the directory" / "$place/bash-link/run.sh" "$project" 50 10
as "relative PAXOS_BIN and PAXOS_CONF" "$place" env PAXOS_BIN=./a-paxos PAXOS_CONF=mine.conf "$project/bash/run.sh" "$project" 50 10
as "a narrow umask, and almost no environment" "$project" bash -c 'umask 0077; exec env -i PATH="$PATH" PAXOS_BIN="$PAXOS_BIN" bash/run.sh . 50 10'
as "without standard input and standard error" "$project" bash -c 'exec bash/run.sh . 50 10 <&- 2>&-'
as "with nothing to decide" "$project" bash bash/run.sh . 0 10
hostile=(env "TMPDIR=$place/tmp dir" "CDPATH=$place/decoy:." "LC_ALL=$comma" SHELLOPTS=noclobber POSIXLY_CORRECT=1)
as "a scenario in all of it" "$place" "${hostile[@]}" "$place/bash-link/test_runs/leader_killed.sh"
as "a soak in all of it" "$place" "${hostile[@]}" sh "$place/bash-link/soak.sh" 3 1
exit "$failed"
