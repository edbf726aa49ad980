#!/usr/bin/env bash
# The extension's tests that need no editor, with node's own runner. Nothing is written into the clone.
#
# usage: dap/vscode/test.sh WASMDBG FILTER
#   the program, and the name of a live filter that it lists
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export WASMDBG=${1:?usage: test.sh WASMDBG FILTER} FILTER=${2:?usage: test.sh WASMDBG FILTER}
tools=$("$here/tools.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here"/{package.json,tsconfig.json,src,test} "$work"
ln -s "$tools" "$work/node_modules"
cd "$work"
node_modules/.bin/tsc -p test
node --test out/test/*.js
