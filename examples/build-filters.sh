#!/usr/bin/env bash
# Builds the example filters and the tests' fixtures, unoptimised and optimised, both with DWARF, into
# the files that are committed beside their source, and writes examples/filters.lock.
# `make filters` calls it.
#
# usage: examples/build-filters.sh [--install] [FOLDER …]
#        examples/build-filters.sh [--install] --full-dwarf FILE
#   --install      install a missing toolchain (rustup's components or apt) instead of naming it
#   --full-dwarf   build rust-token, unoptimised, with all of std's debug info into FILE: a large module
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=${WASMDBG_CACHE:-$root/.cache}/filters
mkdir -p "$cache"
all=(examples/rust-token examples/cpp-headers tests/fixtures/values-rust tests/fixtures/values-cpp tests/fixtures/misbehave tests/fixtures/wide
    debugger/session/tests/fixtures/containers-rust debugger/session/tests/fixtures/containers-cpp)

install=no
if [ "${1:-}" = --install ]; then install=yes; shift; fi

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
    tests/setup/install.sh rust-wasm
}

# Runs cargo for the Wasm target in a folder, with std built along.
cargo_wasm() { # FOLDER OPTION…
    local folder=$1 registry std flags
    shift
    if ! find_rust; then
        [ $install = yes ] || die "no Rust toolchain for Wasm: run \`make filters\`, which installs one"
        install_rust
        find_rust || die "no Rust toolchain for Wasm: \`rustup target add wasm32-wasip1\` and" \
            "\`rustup component add rust-src\`, or Debian's rustc-web cargo-web rust-web-src lld-19 wasi-libc"
    fi
    local run=(cargo) path=$PATH
    flags="--remap-path-prefix=$root/$folder=$folder"
    if [ $toolchain = debian ]; then
        # Debian's cargo and rustc, not rustup's.
        path=/usr/bin:$PATH
        flags+=" -Clinker=wasm-ld-19 -Lnative=/usr/lib/wasm32-wasi"
    fi
    std=$(PATH=$path rustc --print sysroot)/lib/rustlib/src/rust
    flags+=" --remap-path-prefix=$std=rust --remap-path-prefix=$(readlink -f "$std")=rust"
    # The crates' folder is made by the first fetch.
    (cd "$folder" && PATH=$path "${run[@]}" fetch --locked --quiet)
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        [ ! -d "$registry" ] || flags+=" --remap-path-prefix=$registry=crates"
    done
    (cd "$folder" && PATH=$path RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" CARGO_TARGET_DIR="$cache/$toolchain" \
        "${run[@]}" build --locked -Zbuild-std=std,panic_abort --target wasm32-wasip1 "$@")
}

build_rust() { # FOLDER
    local folder=$1 name=${1##*/} profile
    for profile in debug release; do
        local options=()
        [ $profile = debug ] || options=(--release)
        cargo_wasm "$folder" "${options[@]}"
        install -m 644 "$cache/$toolchain/wasm32-wasip1/$profile/${name//-/_}.wasm" "$folder/$name.$profile.wasm"
    done
}

# --- C++ ---

# The libraries' debug info names folders of the machine that built them; the new names are as long.
rename_folders() { # MODULE
    LC_ALL=C sed -i -e 's#/build/reproducible-path/#debian/reproducible-path/#g' \
        -e 's#/usr/lib/llvm-#compiler/llvm-#g' -e 's#/usr/include/#wasi-include/#g' "$1"
}

build_cpp() { # FOLDER
    local folder=$1 name=${1##*/} profile level
    if ! command -v clang++-19 >/dev/null || [ ! -e /usr/lib/wasm32-wasi/libc++.a ]; then
        [ $install = yes ] || die "no C++ compiler for Wasm: run \`make filters\`, which installs it"
        tests/setup/install.sh cpp-wasm
    fi
    for profile in debug release; do
        level=-O0
        [ $profile = debug ] || level=-O2
        (cd "$folder" && clang++-19 --target=wasm32-wasi -std=c++17 -fno-exceptions -fno-rtti -mexec-model=reactor \
            -Wall -Wextra -Werror -g $level -Wl,--export=malloc \
            -ffile-prefix-map="$root/$folder=$folder" -ffile-prefix-map=/usr/lib/llvm-19=clang \
            -ffile-prefix-map=/usr/include=include src/filter.cc -o "$cache/$name.$profile.wasm")
        rename_folders "$cache/$name.$profile.wasm"
        install -m 644 "$cache/$name.$profile.wasm" "$folder/$name.$profile.wasm"
    done
}

if [ "${1:-}" = --full-dwarf ]; then
    target=$(readlink -m "${2:?--full-dwarf wants a file}")
    cargo_wasm examples/rust-token --config 'profile.dev.package."*".debug=2'
    install -D -m 644 "$cache/$toolchain/wasm32-wasip1/debug/rust_token.wasm" "$target"
    exit 0
fi

folders=("$@")
[ ${#folders[@]} -gt 0 ] || folders=("${all[@]}")
for folder in "${folders[@]}"; do
    folder=${folder%/}
    say "building $folder"
    if [ -f "$folder/Cargo.toml" ]; then
        build_rust "$folder"
    elif [ -f "$folder/src/filter.cc" ]; then
        build_cpp "$folder"
    else
        die "no filter's source in $folder"
    fi
done

# --- the lock: which source made which module ---

{
    echo "# SHA-256 of each prebuilt filter and of the files it was built from; written by \`make filters\`."
    for folder in "${all[@]}"; do
        find "$folder" -type f \( -path '*/src/*' -o -name 'Cargo.*' -o -name '*.wasm' \) | LC_ALL=C sort | xargs sha256sum
    done
} >examples/filters.lock
say "wrote examples/filters.lock"
