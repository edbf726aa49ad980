#!/usr/bin/env bash
# Builds the example filters, unoptimised and optimised, both with DWARF, into the files that are
# committed beside their source, and writes examples/filters.lock. `make filters` calls it.
#
# usage: examples/build-filters.sh [--install] [NAME …]
#   --install   install a missing toolchain (apt, or rustup's rust-src) instead of naming it
set -euo pipefail
cd "$(dirname "$0")"
examples=$PWD
cache=${WASMDBG_CACHE:-$examples/../.cache}/filters
mkdir -p "$cache"

install=no
if [ "${1:-}" = --install ]; then install=yes; shift; fi
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(rust-token cpp-headers)

say() { printf 'filters: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# --- Rust: std is built along, so that its debug info can be left out and its paths be remapped ---

# Sets `toolchain` to `rustup` or `debian`.
find_rust() {
    if command -v rustup >/dev/null && rustup target list --installed 2>/dev/null | grep -q '^wasm32-wasip1$' &&
        rustup component list --installed 2>/dev/null | grep -q '^rust-src'; then
        toolchain=rustup
    elif [ -d /usr/lib/rustlib/rustc-src ] || dpkg -s rust-web-src >/dev/null 2>&1; then
        toolchain=debian
    else
        return 1
    fi
}

install_rust() {
    if command -v rustup >/dev/null &&
        timeout 120 rustup target add wasm32-wasip1 && timeout 120 rustup component add rust-src; then
        return
    fi
    "$examples/../tests/setup/install.sh" rust-wasm
}

build_rust() { # NAME CRATE_FILE
    local name=$1 file=$2 registry std source profile flags
    if ! find_rust; then
        [ $install = yes ] || die "no Rust toolchain for Wasm: run \`make filters\`, which installs one"
        install_rust
        find_rust || die "no Rust toolchain for Wasm: \`rustup target add wasm32-wasip1\` and \`rustup component add rust-src\`, or Debian's rustc-web cargo-web rust-web-src lld-19 wasi-libc"
    fi
    source=$examples/$name
    flags="--remap-path-prefix=$source=examples/$name"
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        flags+=" --remap-path-prefix=$registry=crates"
    done
    local run=(cargo)
    if [ $toolchain = debian ]; then
        run=(env "PATH=/usr/bin:$PATH" cargo)
        std=$(PATH=/usr/bin:$PATH rustc --print sysroot)/lib/rustlib/src/rust
        flags+=" -Clinker=wasm-ld-19 -Lnative=/usr/lib/wasm32-wasi"
        flags+=" --remap-path-prefix=$(readlink -f "$std")=rust"
    else
        std=$(rustc --print sysroot)/lib/rustlib/src/rust
    fi
    flags+=" --remap-path-prefix=$std=rust"
    for profile in debug release; do
        local options=()
        [ $profile = debug ] || options=(--release)
        (cd "$source" && RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" CARGO_TARGET_DIR="$cache/$toolchain" \
            "${run[@]}" build --locked -Zbuild-std=std,panic_abort --target wasm32-wasip1 "${options[@]}")
        install -m 644 "$cache/$toolchain/wasm32-wasip1/$profile/$file.wasm" "$source/$name.$profile.wasm"
    done
}

# --- C++ ---

build_cpp() { # NAME
    local name=$1 source=$examples/$1 profile level
    if ! command -v clang++-19 >/dev/null || [ ! -e /usr/lib/wasm32-wasi/libc++.a ]; then
        [ $install = yes ] || die "no C++ compiler for Wasm: run \`make filters\`, which installs it"
        "$examples/../tests/setup/install.sh" cpp-wasm
    fi
    for profile in debug release; do
        level=-O0
        [ $profile = debug ] || level=-O2
        (cd "$source" && clang++-19 --target=wasm32-wasi -std=c++17 -fno-exceptions -fno-rtti -mexec-model=reactor \
            -Wall -Wextra -Werror -g $level -Wl,--export=malloc \
            -ffile-prefix-map="$source=examples/$name" -ffile-prefix-map=/usr/lib/llvm-19=clang \
            -ffile-prefix-map=/usr/include=include src/filter.cc -o "$cache/$name.$profile.wasm")
        install -m 644 "$cache/$name.$profile.wasm" "$source/$name.$profile.wasm"
    done
}

for name in "${names[@]}"; do
    say "building $name"
    case $name in
    rust-token) build_rust rust-token rust_token ;;
    cpp-headers) build_cpp cpp-headers ;;
    *) die "no such example: $name" ;;
    esac
done

# --- the lock: which source made which module ---

{
    echo "# SHA-256 of each prebuilt filter and of the files it was built from; written by \`make filters\`."
    for name in rust-token cpp-headers; do
        find "$name" -type f \( -path '*/src/*' -o -name 'Cargo.*' -o -name '*.wasm' \) | LC_ALL=C sort | xargs sha256sum
    done
} >filters.lock
say "wrote examples/filters.lock"
ls -l ./*/*.wasm >&2
