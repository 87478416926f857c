#!/bin/bash
# make test: every test of every crate; the last line is "N passed, N failed, N skipped".
# As root on Debian 12 it installs the real servers first (tests/stack/install.sh). Otherwise it names what is missing, and
# only the tests that need it are skipped; with CI=true a missing thing is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-$([ -t 1 ] && echo always || echo never)}

rc=0
tests/stack/install.sh || rc=$?
if [ $rc != 0 ]; then
  [ $rc = 3 ] || echo "tests/stack/install.sh failed (exit $rc)" >&2
  if [ "${CI:-}" = true ]; then
    echo "CI=true: nothing may be missing" >&2
    exit 1
  fi
  echo "The tests that need it are skipped. As root, \`make test\` installs it."
  export E2E_SKIP=stack
fi

# All targets at once, so that programs and tests share one build of each crate.
cargo build --workspace --all-targets
cargo test --workspace --no-fail-fast -- --show-output 2>&1 | scripts/count-tests.sh
