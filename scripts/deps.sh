#!/bin/bash
# The dependency policy of deny.toml: banned crates, doubled versions, licences, sources.
#   deps.sh           by cargo-deny if it is there, else by scripts/deps.py, which reads the same file
#   deps.sh install   builds cargo-deny into .tools/
# Advisories are not asked here, because that needs the network: `cargo deny check advisories`.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VERSION=0.20.2

if [ "${1:-}" = install ]; then
  CARGO_TARGET_DIR=.tools/build cargo install cargo-deny --version $VERSION --locked --debug --root .tools
  rm -rf .tools/build
  exit
fi
for deny in .tools/bin/cargo-deny "$(command -v cargo-deny || true)"; do
  if [ -x "$deny" ]; then
    echo "by $("$deny" --version)"
    exec "$deny" --locked check --hide-inclusion-graph bans licenses sources
  fi
done
echo "by scripts/deps.py (cargo-deny is not installed; \`make deny\` installs it)"
exec python3 scripts/deps.py
