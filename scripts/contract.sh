#!/bin/bash
# The contract is well written (buf lint) and breaks nobody (buf breaking): compared with the last release's tag, or before
# the first release with proto/baseline.binpb. Ends with a check of the check: a copy without one field must be refused.
#   contract.sh freeze   writes proto/baseline.binpb; only for a release (proto/README.md)
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD tools=$PWD/.tools

install_buf() { # pinned in scripts/tools, with hashes; no install script of it is run
  command -v npm >/dev/null || { [ "$(id -u)" = 0 ] && tests/stack/install.sh; } || true
  command -v npm >/dev/null || { echo "missing: npm, which brings buf. apt-get install npm" >&2; exit 3; }
  mkdir -p "$tools"
  cp scripts/tools/package.json scripts/tools/package-lock.json "$tools/"
  (cd "$tools" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}
here() { compgen -G "$tools/node_modules/@bufbuild/buf-*/bin/buf" | head -n 1; }
if ! cmp -s scripts/tools/package-lock.json "$tools/package-lock.json" || [ -z "$(here)" ]; then
  install_buf
fi
buf=$(here)
[ -n "$buf" ] || { echo "npm has no buf for this kind of machine ($(uname -sm)); Linux on x64 or arm64 is needed" >&2; exit 3; }

if [ "${1:-}" = freeze ]; then
  cd proto
  exec "$buf" build -o baseline.binpb
fi

before=$root/proto/baseline.binpb
if tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
  before="$root/.git#tag=$tag,subdir=proto"
fi
breaking() { # breaking FOLDER
  (cd "$1" && "$buf" breaking --against "$before")
}

(cd proto && "$buf" lint)
breaking proto

spoiled=$(mktemp -d)
trap 'rm -rf "$spoiled"' EXIT
cp -R proto/buf.yaml proto/tokenbroker "$spoiled/"
sed -i '/ string account = 1/d' "$spoiled/tokenbroker/v1/token_service.proto"
! cmp -s proto/tokenbroker/v1/token_service.proto "$spoiled/tokenbroker/v1/token_service.proto" ||
  { echo "the check of the check spoiled nothing: mend scripts/contract.sh" >&2; exit 1; }
if breaking "$spoiled" >/dev/null 2>&1; then
  echo "buf breaking did not see that a field is gone" >&2
  exit 1
fi
echo "the contract is well written and breaks nothing since ${tag:-its baseline}"
