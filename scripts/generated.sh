#!/bin/bash
# The committed proto/src/generated is what the .proto files give. Leaves the committed files as they were.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
cp -R proto/src/generated "$kept/committed"
cargo build -q --workspace --bin proto-codegen
"${CARGO_TARGET_DIR:-target}/debug/proto-codegen"
if ! diff -r "$kept/committed" proto/src/generated; then
  rm -rf proto/src/generated
  cp -R "$kept/committed" proto/src/generated
  echo "proto/src/generated is not what the .proto files give: run \`make proto\` and commit" >&2
  exit 1
fi
