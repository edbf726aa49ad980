#!/usr/bin/env bash
# Prints the folder of a code-server, a node that it accepts, and playwright-core. They are installed once
# (some minutes, a gigabyte) into a cache outside the clone, named by the lock file.
#
# usage: dap/vscode/e2e/install.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../../tests/setup/install.sh" vscode >&2
key=$(sha256sum "$here/package-lock.json" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmdbg/vscode-$key
if [ ! -f "$cache/ready" ]; then
    echo "installing VS Code for tests into $cache: some minutes, once" >&2
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if [ ! -f "$cache/ready" ]; then
        # code-server's own installation refuses any other node than this one.
        mkdir -p "$cache/boot"
        echo '{"private": true}' >"$cache/boot/package.json"
        (cd "$cache/boot" && npm i node@24 --no-audit --no-fund --no-package-lock --loglevel=error >&2)
        node=$(dirname "$(find "$cache/boot" -path '*/node-linux-*/bin/node' | head -n 1)")
        cp "$here/package.json" "$here/package-lock.json" "$cache"
        (cd "$cache" && PATH=$node:$PATH npm_config_nodedir=$(dirname "$node") \
            npm ci --no-audit --no-fund --loglevel=error >&2)
        ln -sfn "$node/node" "$cache/node"
        touch "$cache/ready"
    fi
fi
echo "$cache"
