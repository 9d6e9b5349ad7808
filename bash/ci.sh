#!/usr/bin/env bash
# The one gate: format, lints, documentation, scripts, tests, benches, and a short run.
#
# It is the README's test command and everything that continuous integration calls. It ends with what
# could not be done on this machine, so that nobody takes it for done.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
cd -- "$PAXOS_HOME"

# step WHAT: says what comes now, and how many seconds have passed. A failure of work aside ends the run.
step() {
    local name
    for name in "${!aside_pid[@]}"; do
        kill -0 "${aside_pid[$name]}" 2>/dev/null || gather "$name"
    done
    printf '\n== %s (after %d s)\n' "$*" "$SECONDS"
}

place=$(mktemp -d "${TMPDIR:-/tmp}/paxos-ci.XXXXXX")
clean_up() {
    stop_all
    rm -rf -- "$place"
}
own_up clean_up
# Tests add what they cannot do here.
export PAXOS_TEST_SKIPPED=$place/skipped
: >"$PAXOS_TEST_SKIPPED"

# skip WHAT: says what cannot be done on this machine, now and at the end.
skip() {
    printf 'SKIPPED: %s\n' "$*" | tee -a "$PAXOS_TEST_SKIPPED"
}

# Tests with real processes wait most of the time. Work that needs only processors runs beside them,
# on the processor time that those tests leave: a process with the idle policy yields to any other
# at once.
if chrt --idle 0 true 2>/dev/null; then aside=(chrt --idle 0); else aside=(nice -n 19); fi
declare -A aside_pid

# aside NAME COMMAND...: starts a command, whose result `gather` reports.
aside() {
    start "$place/$1.err" "${aside[@]}" "${@:2}" >"$place/$1.out"
    aside_pid[$1]=$!
}

# beside NAME COMMAND...: the same with the priority of all others.
beside() {
    local -a aside=()
    aside "$@"
}

# gather NAME: waits for what was begun aside, shows what it said, and fails as it did; once.
gather() {
    local pid=${aside_pid[$1]:-} status=0
    [ -n "$pid" ] || return 0
    unset "aside_pid[$1]"
    wait "$pid" || status=$?
    printf '\n-- %s has ended (seen after %d s)\n' "$1" "$SECONDS"
    cat "$place/$1.out" "$place/$1.err"
    [ "$status" -eq 0 ] || refuse "ci.sh: $1: status $status"
}

command -v cargo >/dev/null || refuse "ci.sh: there is no cargo; install Rust from https://rustup.rs"
for part in fmt clippy; do
    cargo "$part" --version >/dev/null 2>&1 || refuse "ci.sh: there is no cargo $part; rustup component add rustfmt clippy"
done
for program in cc git flock; do
    command -v "$program" >/dev/null || refuse "ci.sh: there is no $program; install a C compiler, git and util-linux"
done
# This checkout is the one that is examined.
unset PAXOS_BIN PAXOS_CONF PAXOS_CLUSTER PAXOS_PARENT FIRST_INSTANCE
paxos=$(release_binary "$PWD")

step "format"
cargo fmt --all --check

# Tests come as early as they can, and what needs only processors goes on beside them. Builds of other
# profiles than theirs do not wait for each other; lints, the library alone and the documentation do.
beside tests cargo test --profile ci --no-run --bins --examples --test '*'
aside clippy cargo clippy --workspace --all-targets --quiet -- -D warnings
aside library cargo check --no-default-features --lib --quiet
aside doc env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
aside release cargo build --release --bin paxos

step "scripts"
for script in bash/*.sh bash/test_runs/*.sh docker/*.sh systemd/*.sh benches/peers/*.sh kv/*.sh .ci/run; do
    bash -n "$script"
done
for script in systemd/deb/*; do
    sh -n "$script"
done
if command -v shellcheck >/dev/null; then
    shellcheck --severity=warning -x -P SCRIPTDIR bash/*.sh bash/test_runs/*.sh docker/*.sh systemd/*.sh \
        benches/peers/*.sh kv/*.sh systemd/deb/*
else
    skip "shellcheck is not installed, so scripts are checked for syntax only"
fi

step "dependencies"
for crate in clap env_logger indicatif signal-hook; do
    if cargo tree --no-default-features -e normal --prefix none | grep -q "^$crate "; then
        refuse "ci.sh: the library depends on $crate; it is for the feature cli alone"
    fi
done
if ! command -v cargo-deny >/dev/null; then
    skip "cargo-deny is not installed, so licences, sources and advisories of dependencies are not checked"
elif cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --workspace check
else
    cargo deny --workspace check bans licenses sources
    skip "the database of advisories cannot be fetched, so dependencies are not looked up there"
fi
if command -v cargo-machete >/dev/null; then
    cargo machete
else
    skip "cargo-machete is not installed, so nobody looks for dependencies that are not used"
fi

step "the package"
# Whether it can be published, as far as can be told without the registry: what belongs to it, that
# the manifest is whole, and that the lock file holds for it alone.
cargo package --package multi-paxos --no-verify --allow-dirty --quiet --target-dir "$place/package"

step "the book"
if command -v mdbook >/dev/null; then
    # mdBook has no option that makes an error of a warning.
    mdbook build docs 2>&1 | tee "$place/book"
    if grep -qw WARN "$place/book"; then refuse "ci.sh: mdBook warns about docs/"; fi
else
    skip "mdBook is not installed, so docs/ is not made into a book"
fi

step "tests are built"
gather tests
# The library's own tests are built once, with the deliberate bugs, all of which are switched off unless
# a hunt is on: a second build without them would take as long as a tenth of everything here. Processes,
# and the simulator's seeds below, run without them.
cargo test --profile ci --no-run --lib --features bugs
cargo test --profile ci --no-run --package paxos-kv
aside outside bash/outside.sh
aside hunt bash/bugs.sh

step "tests of the library, and a minute of kills"
# The minute is here because some of the tests below wait until no other cluster runs.
soak=soak::a_minute_of_kills_while_most_of_the_log_is_removed
beside soak cargo test --profile ci --test system -- --exact "$soak"
cargo test --profile ci --no-fail-fast --lib --features bugs -- --skip sim::hunt
cargo test --profile ci --no-fail-fast --bins --examples
gather soak

step "tests with processes"
# They wait for each other's processes more than for processors. At most four clusters run at a time;
# four threads more are for tests that wait until no other cluster runs.
export RUST_TEST_THREADS=8
cargo test --profile ci --no-fail-fast --test '*' -- --skip "$soak"

step "programs in the documentation"
cargo test --profile ci --doc

step "lints"
gather clippy

step "the library alone, without what the command line needs"
gather library
gather outside

step "documentation"
gather doc

step "release build"
gather release
aside seeds "$paxos" simulate --seeds 2000
aside lasting "$paxos" simulate --lasting --seeds 500

step "the store"
# Nothing bounds how many of its clusters run at a time.
RUST_TEST_THREADS=6 cargo test --profile ci --package paxos-kv --no-fail-fast

step "tests of the whole, with a key"
PAXOS_TEST_KEY=1 cargo test --profile ci --test system -- timing hostile durability faults elections nodes

step "the system's tests over lists of members"
# Left out is what would be the same again: tests that bring a network of their own or always use
# multicast, and of what commands, scripts and files say, which no datagram changes.
PAXOS_TEST_NETWORK=unicast cargo test --profile ci --test system -- \
    --skip usage:: --skip soak:: --skip transport:: --skip the_scenarios_end --skip fetches_100000 \
    --skip doctor:: --skip full_disks:: --skip kills:: --skip lead:: --skip log:: --skip memory:: \
    --skip every_process_of_a_cluster_is_ready --skip without_a_quorum_processes --skip bad_clients_are_let_go \
    --skip where_nothing_can_be_served --skip the_dashboard_can_be_imported --skip prometheus_ \
    --skip pictures:: --skip rejoin:: --skip snapshots:: --skip status:: --skip stranger:: \
    --skip trimming:: --skip trouble:: --skip upgrades::

step "IPv6 groups on a loopback interface with a route for them"
route='ip link set lo up && ip -6 route add local ff01::/16 dev lo'
if unshare --map-root-user --net sh -c "$route" 2>/dev/null; then
    unshare --map-root-user --net sh -c "$route && cargo test --profile ci --quiet --lib --features bugs ipv6_groups"
else
    skip "no network namespace with IPv6 is allowed here"
fi

step "benches run"
cargo test --profile ci --quiet --bench protocol --bench wire --bench storage --bench timer_wheel --bench cluster
cargo bench --profile ci --quiet --no-run --bench compare

step "deliberate bugs"
gather hunt

step "seeds of the simulator"
gather seeds
gather lasting

step "axes: nothing grows out of proportion"
PROFILE=ci SMALL=1 bash/axes.sh 1 0.5

step "a short run"
bash/run.sh . 200 30
PAXOS_CONF=conf/unicast.conf bash/run.sh . 200 30
bash/run.sh . 200 30 0.1
FIRST_INSTANCE=auto bash/run.sh . 200 30 0.1
NODES=3 FIRST_INSTANCE=auto bash/run.sh . 200 30 0.1

step "the scripts in other people's shells"
bash/hostile.sh "$paxos"

step "units of systemd"
if command -v systemd-analyze >/dev/null; then
    systemd/verify.sh
else
    skip "there is no systemd-analyze, so the units of systemd are not verified"
fi

step "the Debian package"
if ! command -v dpkg-deb >/dev/null; then
    skip "there is no dpkg-deb, so no Debian package is made"
else
    package=$(bash/deb.sh)
    dpkg-deb --contents "$package" >/dev/null
    if [ "$(id -u)" -eq 0 ] && command -v debootstrap >/dev/null && unshare --mount true 2>/dev/null; then
        systemd/try_deb.sh "$package"
    else
        skip "the Debian package is not installed, because that needs root and debootstrap"
    fi
fi

step "containers"
if ! docker info >/dev/null 2>&1; then
    skip "no container engine answers, so nothing is run in containers"
elif ! { docker compose version || docker-compose version; } >/dev/null 2>&1; then
    skip "Compose is not installed, so nothing is run in containers"
else
    bash/docker.sh plain
    bash/docker.sh catch_up
    bash/docker.sh nodes
fi

# Nothing that was begun aside may go unseen, whatever the steps above have forgotten.
for name in "${!aside_pid[@]}"; do
    gather "$name"
done

if [ -s "$PAXOS_TEST_SKIPPED" ]; then
    printf '\npassed in %d s, but for what this machine cannot do:\n' "$SECONDS"
    sort "$PAXOS_TEST_SKIPPED" | uniq -c
else
    printf '\nall of it passed in %d s\n' "$SECONDS"
fi
