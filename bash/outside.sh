#!/usr/bin/env bash
# Compiles the program of the README as somebody would who has nothing but that: in a crate of its own,
# with the library as its only dependency, and without the library's default features.
#
# What the library depends on is taken from this checkout's target directory, if it is there.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"
cd -P -- "$PAXOS_HOME" >/dev/null
command -v cargo >/dev/null || refuse "outside.sh: there is no cargo; install Rust from https://rustup.rs"
crate=$(mktemp -d "${TMPDIR:-/tmp}/paxos-outside.XXXXXX")
trap 'rm -rf -- "$crate"' EXIT
mkdir "$crate/src"
sed -n '/^```rust/,/^```$/p' README.md | sed '1d; $d' >"$crate/src/main.rs"
grep -q 'fn main' "$crate/src/main.rs" || {
    echo "outside.sh: there is no program in README.md" >&2
    exit 1
}
cat >"$crate/Cargo.toml" <<END
[package]
name = "outside"
version = "0.0.0"
edition = "2024"

[dependencies]
multi-paxos = { path = "$PWD", default-features = false }

[workspace]
END
# The same versions, and no network.
cp Cargo.lock "$crate"
cargo check --manifest-path "$crate/Cargo.toml" --target-dir target --offline --quiet
