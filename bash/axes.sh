#!/usr/bin/env bash
# Measures how the cost of things grows: with clients, sessions, holes, the log, sizes, members, loss,
# round trips, fewer or busy processors, and pauses. Each figure is set against that of the axis's
# first point.
#
# In the environment: ONLY=clients,loss for some axes; SMALL=1 for a few points and their limits,
# status 1 beyond them; LONG=1 for the far points as well: 1000 clients, 100,000 sessions, a log of
# ten million (in 8 GiB, or what fits), a minute of pause; AGAINST=PATH measures another paxos
# binary as well, in turn with this one; PROFILE=ci builds as bash/ci.sh builds tests.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
refuse_unless_count $# 0 2 "axes.sh [ROUNDS] [SECONDS]"
rounds=${1:-3} seconds=${2:-1}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || refuse "axes.sh: ROUNDS $rounds is not a whole number from 1 to 999"
[[ $seconds =~ ^[0-9]{1,3}(\.[0-9]{1,3})?$ ]] || refuse "axes.sh: SECONDS $seconds is not a number from 0 to 999, such as 1 or 0.5"
command -v cargo >/dev/null || refuse "axes.sh: there is no cargo; install Rust from https://rustup.rs"
options=(--rounds "$rounds" --seconds "$seconds" --small "${SMALL:-0}" --long "${LONG:-0}")
[ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
[ -z "${AGAINST:-}" ] || is_program "$AGAINST" || refuse "axes.sh: AGAINST=$AGAINST is not a program"
[ -z "${AGAINST:-}" ] || options+=(--against "$(realpath "$AGAINST")")
cd "$PAXOS_HOME"
exec cargo bench --quiet --profile "${PROFILE:-bench}" --bench compare -- axes "${options[@]}"
