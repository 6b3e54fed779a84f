#!/bin/sh
# Builds the programs of other people with which test/interop checks this project: Tessera's fsck, torchwood's litewitness, and two
# small ones over torchwood's and Go's own packages. Needs Go and its module proxy once; nothing is downloaded at run time.
# go.mod pins the versions and go.sum the hashes of every module, so anything else is refused.
#
#   test/interop/build.sh [FOLDER]    writes the programs to FOLDER (default .cache/interop) and prints it; does nothing if they are there
set -eu
here=$(cd "$(dirname -- "$0")" && pwd)
folder=${1:-$here/../../.cache/interop}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
stamp=$(cat "$here/go.mod" "$here/go.sum" "$here"/*/*.go | cksum)
if [ "$(cat "$folder/stamp" 2>/dev/null || true)" != "$stamp" ]; then
  command -v go >/dev/null || { echo 'interop: Go is needed (go.dev/dl)' >&2; exit 1; }
  echo 'interop: building fsck, litewitness, check-proof and key-agent, about 25 s on two cores' >&2
  rm -f "$folder/stamp"
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$folder/" \
    github.com/transparency-dev/tessera/cmd/fsck filippo.io/torchwood/cmd/litewitness ./check-proof ./key-agent)
  printf '%s\n' "$stamp" >"$folder/stamp"
fi
printf '%s\n' "$folder"
