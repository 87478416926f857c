#!/bin/bash
# Reads what `cargo test -- --show-output` prints, shows it without the output of tests that passed, and ends with the line
# "N passed, N failed, N skipped" over all crates. A test that prints "skipped: WHY" did not pass: it counts as skipped.
set -eu
exec awk '
  { plain = $0; gsub(/\033\[[0-9;]*m/, "", plain) }
  plain ~ /^skipped: / { why[substr(plain, 10)]++; asked++ }
  plain == "successes:" { hidden = 1 }
  plain == "failures:" || plain ~ /^test result: / { hidden = 0 }
  plain ~ /^test result: / {
    seen = 1
    for (i = 1; i < NF; i++) {
      word = $(i + 1); sub(/;/, "", word)
      if (word == "passed") passed += $i
      if (word == "failed") failed += $i
      if (word == "ignored") skipped += $i
    }
  }
  !hidden { print; fflush() }
  END {
    if (!seen) exit
    print ""
    for (reason in why) print "skipped " why[reason] "x: " reason
    printf "%d passed, %d failed, %d skipped\n", passed - asked, failed, skipped + asked
  }'
