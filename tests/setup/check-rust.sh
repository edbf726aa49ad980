#!/usr/bin/env bash
# Says how to get Rust when it is missing or too old. Says nothing when it is fine.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

if ! command -v cargo >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "setup: Rust $wanted or newer is needed, and there is no cargo. Get it from https://rustup.rs, open a new shell and run this again" >&2
    exit 1
fi
PATH="$PATH:$HOME/.cargo/bin"
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "setup: Rust $wanted or newer is needed, this is $found: run \`rustup update\`" >&2
    exit 1
fi
# Linking needs a C compiler, which a new Debian does not have.
command -v cc >/dev/null || tests/setup/install.sh c
