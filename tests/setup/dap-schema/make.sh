#!/usr/bin/env bash
# Prints the path of a JSON schema of the Debug Adapter Protocol, made of the published types. They are
# fetched once into a cache outside the clone, which is named by the lock file.
#
# usage: tests/setup/dap-schema/make.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v npm >/dev/null || { echo "npm is missing: the tests of the debug adapter need node and npm" >&2; exit 1; }
key=$(cat "$here/package-lock.json" "$here/schema.js" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmdbg/dap-schema-$key
if [ ! -s "$cache/schema.json" ]; then
    # Several tests may want it at once: whoever is first makes it whole, in a folder of its own.
    mkdir -p "$(dirname "$cache")"
    work=$(mktemp -d "$cache.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp "$here"/package.json "$here"/package-lock.json "$here"/schema.js "$work"
    (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
    (cd "$work" && node schema.js node_modules/@vscode/debugprotocol/lib/debugProtocol.d.ts >schema.json)
    mkdir -p "$cache"
    mv "$work/schema.json" "$cache/schema.json"
fi
echo "$cache/schema.json"
