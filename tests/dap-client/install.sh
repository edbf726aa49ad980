#!/usr/bin/env bash
# Prints the folder of the Debug Adapter Protocol's own test client. It is fetched once into a cache outside the
# clone, which is named by the lock file.
#
# usage: tests/dap-client/install.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v npm >/dev/null || { echo "npm is missing: the tests of the debug adapter need node and npm" >&2; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmdbg/dap-client-$(sha256sum "$here/package-lock.json" | cut -c1-16)
if [ ! -d "$cache" ]; then
    mkdir -p "$(dirname "$cache")"
    work=$(mktemp -d "$cache.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp "$here"/package.json "$here"/package-lock.json "$work"
    (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
    # Another test may have been faster.
    mv -T "$work" "$cache" 2>/dev/null || [ -d "$cache" ]
fi
echo "$cache"
