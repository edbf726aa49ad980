#!/usr/bin/env bash
# Packages the extension. Its build tools are fetched once into a cache outside the clone, named by the lock
# file; nothing is written into the clone but the package itself.
#
# usage: dap/vscode/package.sh OUT.vsix
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:?usage: package.sh OUT.vsix}")
command -v npm >/dev/null || { echo "npm is missing: tests/setup/install.sh vscode installs it" >&2; exit 1; }
key=$(sha256sum "$here/package-lock.json" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmdbg/vscode-build-$key
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -d "$cache/node_modules" ]; then
    mkdir -p "$cache"
    cp "$here/package.json" "$here/package-lock.json" "$work"
    (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
    # Whoever is first; a second one's work is as good.
    mv -T "$work/node_modules" "$cache/node_modules" 2>/dev/null || rm -rf "$work/node_modules"
fi
cp -r "$here"/{package.json,tsconfig.json,.vscodeignore,README.md,src,images} "$here/../../LICENSE" "$work"
ln -s "$cache/node_modules" "$work/node_modules"
cd "$work"
node_modules/.bin/tsc -p .
mkdir -p "$(dirname "$out")"
node_modules/.bin/vsce package --no-dependencies --allow-missing-repository --no-rewrite-relative-links -o "$out" >&2
echo "$out"
