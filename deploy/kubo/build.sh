#!/bin/sh
# Builds Kubo's `ipfs` from its Go module, for the kubo backend and for the tests that need a real daemon.
# Needs Go and its module proxy; nothing is downloaded at run time. `go install …@version` refuses modules with exclude
# lines, so the module's own sources are built, with the versions that its own go.mod and go.sum name.
#
#   deploy/kubo/build.sh [FOLDER]     writes FOLDER/ipfs (default .cache/kubo) and prints its path; does nothing if it is there
set -eu
version=v0.43.0
# Hash of the module's zip, as the Go checksum database has it.
sum='h1:yIqtKSCSKZXsYHz68J6hf1/dWOe/eMyaPsTubsVUb3M='

root=$(cd "$(dirname -- "$0")/../.." && pwd)
folder=${1:-$root/.cache/kubo}
mkdir -p "$folder"
# Made absolute: the build runs in a folder of its own.
folder=$(CDPATH= cd -- "$folder" && pwd)
binary=$folder/ipfs-$version
if [ ! -x "$binary" ]; then
  command -v go >/dev/null || { echo 'kubo: Go is needed (go.dev/dl); or set KUBO_BINARY to an ipfs that is installed' >&2; exit 1; }
  echo "kubo: building $version, about 75 s on two cores" >&2
  work=$(mktemp -d)
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  # The hash above stands in for the checksum database, so that a closed network with a proxy of its own can build too.
  (cd "$work" && GONOSUMDB=github.com/ipfs/kubo GOFLAGS=-mod=mod go mod download -json "github.com/ipfs/kubo@$version" >module.json)
  found=$(sed -n 's/^[[:space:]]*"Sum": "\(.*\)",\{0,1\}$/\1/p' "$work/module.json")
  [ "$found" = "$sum" ] || { echo "kubo: the module's hash is $found, not $sum" >&2; exit 1; }
  sources=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p' "$work/module.json")
  cp -R "$sources" "$work/kubo"
  chmod -R u+w "$work/kubo"
  (cd "$work/kubo" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$binary.new" ./cmd/ipfs)
  mv "$binary.new" "$binary"
fi
ln -sf "ipfs-$version" "$folder/ipfs"
printf '%s\n' "$folder/ipfs"
