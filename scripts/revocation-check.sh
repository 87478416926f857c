#!/bin/bash
# make revocation-check: three brokers on one PostgreSQL under load, rights taken away, brokers paused, cut off and killed; then the
# whole history is judged.
#   OPS=1000000  SEED=n repeats the choices of an earlier run  SABOTAGE=epoch spoils the brokers and expects to find it
# Prints tables, the violations with their part of the history, and the seed. Exit: 0 nothing found, 1 a violation or a wrong
# audit (the other way round with SABOTAGE), 2 it could not be run, 3 PostgreSQL is not installed.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${POSTGRES_BIN:-}" ] && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
  echo "PostgreSQL is not installed (Debian package postgresql; as root, tests/stack/install.sh installs it)" >&2
  exit 3
fi
# Of the whole workspace: that is how the broker gets its failpoints.
cargo build --release --workspace --bin token-broker --bin brokerctl --bin revocation-check
exec "${CARGO_TARGET_DIR:-target}/release/revocation-check" --operations "${OPS:-1000000}" \
  ${SEED:+--seed "$SEED"} ${SABOTAGE:+--sabotage "$SABOTAGE"}
