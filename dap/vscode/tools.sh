#!/usr/bin/env bash
# Prints the folder of the extension's build tools. They are fetched once into a cache outside the clone, named
# by the lock file.
#
# usage: dap/vscode/tools.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v npm >/dev/null || { echo "npm is missing: tests/setup/install.sh npm installs it" >&2; exit 1; }
key=$(sha256sum "$here/package-lock.json" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmdbg/vscode-build-$key
if [ ! -d "$cache/node_modules" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp "$here/package.json" "$here/package-lock.json" "$work"
    (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
    # Whoever is first; a second one's work is as good.
    mv -T "$work/node_modules" "$cache/node_modules" 2>/dev/null || [ -d "$cache/node_modules" ]
fi
echo "$cache/node_modules"
