#!/bin/bash
# make demo: builds with visible progress, then walks through everything on loopback.
#   ONCE=1  leaves after the walk: 0 if every step worked, else the failing step is named
# Needs a Rust tool chain, a C compiler and curl; names what is missing (exit 3).
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=0
need() { # need COMMAND WHAT-TO-DO
  command -v "$1" >/dev/null && return
  echo "missing: $1. $2" >&2
  missing=1
}
need cargo "Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer: https://rustup.rs"
need "${CC:-cc}" "A C compiler: apt-get install gcc"
need curl "apt-get install curl"
[ $missing = 0 ] || exit 3

crates=$(cargo tree --workspace --prefix none --edges normal,build --format '{p}' | sort -u | wc -l)
echo "Building the broker, two adapters, brokerctl and the demo: about $crates crates on $(nproc) cores."
echo "The first time takes minutes, later a second. Nothing is installed; all of it lands in ${CARGO_TARGET_DIR:-target}/."
began=$SECONDS
cargo build --workspace --bins
echo "Built in $((SECONDS - began)) s."
exec "${CARGO_TARGET_DIR:-target}/debug/demo" ${ONCE:+--once}
