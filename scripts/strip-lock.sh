#!/bin/bash
# strip-lock.sh PACKAGE-LOCK.json..: takes the registry's host names out; the hashes stay and npm asks its own registry.
set -eu
for lock in "$@"; do
  sed -i '/^ *"resolved": /d' "$lock"
done
