#!/bin/bash
# make check: everything that is not a test. Runs all steps, says how long each took, fails if one failed.
#   scripts/check.sh STEP..   only these
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

run() {
  case $1 in
    format) cargo fmt --all --check ;;
    contract) scripts/contract.sh ;;
    dependencies) scripts/deps.sh ;;
    lints) cargo clippy -q --workspace --all-targets -- -D warnings ;;
    walls) cargo test -q --workspace --test walls ;;
    generated) scripts/generated.sh ;;
    *) echo "no step $1" >&2; return 2 ;;
  esac
}
[ $# -gt 0 ] || set -- format contract dependencies lints walls generated

results=() failed=0
for step in "$@"; do
  echo "== $step"
  began=$SECONDS
  if run "$step"; then
    results+=("ok      $step, $((SECONDS - began)) s")
  else
    results+=("FAILED  $step, $((SECONDS - began)) s")
    failed=1
  fi
done
echo
printf '%s\n' "${results[@]}"
exit $failed
