#!/bin/bash
# make check: everything that is not a test. Runs all steps, says how long each took, fails if one failed.
#   scripts/check.sh STEP..   only these
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

format() { cargo fmt --all --check; }
lints() { cargo clippy -q --workspace --all-targets -- -D warnings; }
walls() { cargo test -q --workspace --test walls; }
contract() { scripts/contract.sh; }
generated() { scripts/generated.sh; }
dependencies() { scripts/deps.sh; }

results=() failed=0
for step in ${*:-format contract dependencies lints walls generated}; do
  echo "== $step"
  began=$SECONDS
  if "$step"; then
    results+=("ok      $step, $((SECONDS - began)) s")
  else
    results+=("FAILED  $step, $((SECONDS - began)) s")
    failed=1
  fi
done
echo
printf '%s\n' "${results[@]}"
exit $failed
