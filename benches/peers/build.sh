#!/usr/bin/env bash
# Builds a program that measures other systems, and prints its path.
#
# usage: build.sh [libraries|libpaxos|etcd]
#
# libraries, the default: OmniPaxos and raft. libpaxos: its sources are cloned from LIBPAXOS, a git
# URL, or taken as they are when LIBPAXOS is a folder that has them.
set -euo pipefail
LIBPAXOS=${LIBPAXOS:-https://github.com/usi-systems/libpaxos}
[ ! -d "$LIBPAXOS" ] || LIBPAXOS=$(realpath "$LIBPAXOS")
cd "$(dirname "${BASH_SOURCE[0]}")"
target=${CARGO_TARGET_DIR:-$PWD/target}
# The last commit of its first authors, of 2016.
commit=cbb4c1b34b6e4de01f7776f92158f6ba99cdb92c

refuse() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

# build BINARY FEATURE: with a stand-in for protoc, which README.md explains.
build() {
    cargo build --release --quiet --target-dir "$target" --features protoc --bin protoc >&2
    PROTOC=$target/release/protoc cargo build --release --quiet --target-dir "$target" \
        --features "$2" --bin "$1" >&2
    printf '%s\n' "$target/release/$1"
}

# links LIBRARY: whether there is one of that name.
links() {
    printf 'int main(void) { return 0; }\n' | cc -x c - -o /dev/null "-l$1" 2>/dev/null
}

build_libpaxos() {
    local sources=$LIBPAXOS program=$target/release/libpaxos msgpack
    command -v cc >/dev/null || refuse "there is no C compiler; try: apt-get install gcc"
    printf '#include <event2/event.h>\n#include <msgpack.h>\n' | cc -E - >/dev/null 2>&1 ||
        refuse "libpaxos lacks a header; try: apt-get install libevent-dev libmsgpack-dev"
    if links msgpackc; then
        msgpack="-lmsgpackc"
    elif links msgpack-c; then # Its name since version 6.
        msgpack="-lmsgpack-c"
    else
        refuse "libpaxos lacks the library msgpack-c; try: apt-get install libmsgpack-dev"
    fi
    if [ ! -f "$sources/evpaxos/evproposer.c" ]; then
        sources=$target/libpaxos
        if ! git -C "$sources" cat-file -e "$commit" 2>/dev/null; then
            rm -rf "$sources"
            GIT_TERMINAL_PROMPT=0 timeout 60 git clone --quiet --no-checkout "$LIBPAXOS" \
                "$sources" >&2 || refuse "$LIBPAXOS cannot be cloned; set LIBPAXOS to a copy"
        fi
        git -C "$sources" checkout --quiet --force "$commit" >&2 ||
            refuse "$LIBPAXOS lacks commit $commit; set LIBPAXOS to a copy that has it"
    fi
    mkdir -p "$target/release"
    # Its storage in LMDB stays out. Warnings are off, for its code is not ours.
    cc -std=gnu11 -O2 -w -o "$program" libpaxos/driver.c \
        -I"$sources/paxos/include" -I"$sources/evpaxos/include" \
        "$sources"/paxos/{paxos,acceptor,learner,proposer,carray,quorum}.c \
        "$sources"/paxos/storage{,_utils,_mem}.c \
        "$sources"/evpaxos/{config,message,paxos_types_pack,peers}.c \
        "$sources"/evpaxos/ev{acceptor,learner,proposer}.c \
        -levent "$msgpack" -lm >&2 || refuse "libpaxos did not build from $sources"
    printf '%s\n' "$program"
}

case ${1:-libraries} in
libraries) build peers raft ;;
libpaxos) build_libpaxos ;;
etcd)
    command -v etcd >/dev/null ||
        refuse "there is no etcd; try: apt-get install --no-install-recommends etcd-server"
    build etcd etcd
    ;;
*) refuse "there are libraries, libpaxos and etcd, and no $1" ;;
esac
