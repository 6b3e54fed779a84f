#!/bin/sh
# Validates what is exported as FHIR with HAPI's validator. Needs Java 17 and Maven, which fetches about 200 MB once; without them it says so and ends with 0.
set -eu
cd "$(dirname -- "$0")/../.."
command -v java >/dev/null 2>&1 && command -v mvn >/dev/null 2>&1 || { echo 'skipped: no Java or no Maven'; exit 0; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
node="${NODE:-node}"
"$node" test/hapi/export.ts "$out"
mvn -q -f test/hapi/pom.xml -DbuildDirectory="$out/target" compile exec:java \
  -Dexec.args="$out/readings.json $out/diagnosis.json $out/by-hand.json $out/ledger.json"
