#!/bin/sh
# Validates what is exported as FHIR with HAPI's validator. Needs Java 17 and Maven, which fetches about 200 MB once; without them it says so and ends with 0.
set -eu
cd "$(dirname -- "$0")/../.."
command -v java >/dev/null 2>&1 && command -v mvn >/dev/null 2>&1 || { echo 'skipped: no Java or no Maven'; exit 0; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# The Node that the launcher fetched, where the machine's own is too old for TypeScript.
node="${NODE:-$(ls .cache/node/node_modules/node-*/bin/node 2>/dev/null | head -n 1)}"
node="${node:-node}"
"$node" test/hapi/export.ts "$out"
mvn -q -f test/hapi/pom.xml -DbuildDirectory="$out/target" compile exec:java \
  -Dexec.args="$(ls "$out"/*.json | tr '\n' ' ')"
