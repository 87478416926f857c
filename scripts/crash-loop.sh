#!/bin/bash
# make crash-loop: kills the real broker under load again and again and checks that nothing is lost; 1000 kills take about 25 minutes.
#   KILLS=1000  ENGINE=sqlite|postgres  ROTATION=all|none|replace|grace|strict  SEED=n repeats the choices of an earlier run
# Prints a table by rotation mode and place of the kill, and the seed. Exit: 0 nothing lost, 1 an invariant is broken,
# 2 it could not be run, 3 PostgreSQL is wanted and not installed.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

engine=${ENGINE:-sqlite}
if [ "$engine" = postgres ] && [ -z "${POSTGRES_BIN:-}" ] && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
  echo "PostgreSQL is not installed (Debian package postgresql; as root, tests/stack/install.sh installs it)" >&2
  exit 3
fi
# The whole workspace at once: that is how the broker gets its failpoints.
cargo build --workspace --all-targets
exec "${CARGO_TARGET_DIR:-target}/debug/crash-loop" --kills "${KILLS:-1000}" --engine "$engine" \
  --rotation "${ROTATION:-all}" ${SEED:+--seed "$SEED"}
