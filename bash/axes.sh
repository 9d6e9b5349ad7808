#!/usr/bin/env bash
# Measures how the cost of things grows: with clients, sessions, holes, the log, sizes, members and
# loss. Each figure is set against that of the axis's first point.
#
# usage: axes.sh [ROUNDS] [SECONDS]
#
# In the environment: ONLY=clients,loss for some axes; SMALL=1 for a few points and their limits,
# status 1 beyond them; AGAINST=PATH measures another paxos binary as well, in turn with this one.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
refuse_unless_count $# 0 2 "axes.sh [ROUNDS] [SECONDS]"
rounds=${1:-3} seconds=${2:-1}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "axes.sh: ROUNDS $rounds is not a whole number from 1"
[[ $seconds =~ ^[0-9]{1,3}(\.[0-9]{1,3})?$ ]] || refuse "axes.sh: SECONDS $seconds is not a number"
command -v cargo >/dev/null || refuse "axes.sh: there is no cargo; install Rust from https://rustup.rs"
options=(--rounds "$rounds" --seconds "$seconds" --small "${SMALL:-0}")
[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
[ -z "${AGAINST:-}" ] || options+=(--against "$(realpath "$AGAINST")")
cd "$PAXOS_HOME"
exec cargo bench --quiet --bench axes -- "${options[@]}"
