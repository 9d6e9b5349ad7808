#!/usr/bin/env bash
# Builds the peers with raft among them, and prints the binary's path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --quiet --target-dir "$target" --features protoc --bin protoc >&2
PROTOC=$target/release/protoc cargo build --release --quiet --target-dir "$target" --features raft --bin peers >&2
printf '%s\n' "$target/release/peers"
