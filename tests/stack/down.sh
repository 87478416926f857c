#!/bin/bash
# down.sh [--wipe] [COMPONENT...]: stop what up.sh started, and nothing else: a process counts as ours only
# while its pid has the recorded start time. --wipe also removes the data directory.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
wipe=0
[ "${1:-}" != --wipe ] || { wipe=1; shift; }
[ -d "$DATA/pids" ] || exit 0
exec 9<"$DATA"; flock 9
for name in ${*:-postfix dovecot oauth}; do stop_one "$name"; done
[ $wipe = 0 ] || rm -rf "$DATA"
