#!/usr/bin/env bash
# Packages the extension; nothing is written into the clone but the package itself.
#
# usage: dap/vscode/package.sh OUT.vsix
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:?usage: package.sh OUT.vsix}")
tools=$("$here/tools.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here"/{package.json,tsconfig.json,.vscodeignore,README.md,src,images} "$here/../../LICENSE" "$work"
ln -s "$tools" "$work/node_modules"
cd "$work"
node_modules/.bin/tsc -p .
mkdir -p "$(dirname "$out")"
node_modules/.bin/vsce package --no-dependencies --allow-missing-repository --no-rewrite-relative-links -o "$out" >&2
echo "$out"
