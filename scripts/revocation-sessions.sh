#!/bin/bash
# Opens SESSIONS (1000) relayed IMAP sessions, revokes their credential and prints when each ended, on both engines.
# Fails if one does not end; how fast is a figure. PostgreSQL is installed by root on Debian 12, else its part is left out.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build -q --release --workspace --bins
# Each session has four sockets, on three processes.
ulimit -n "$(ulimit -Hn)"
exec target/release/bench --only revoke --sessions "${SESSIONS:-1000}"
