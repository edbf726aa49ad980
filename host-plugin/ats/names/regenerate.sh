#!/bin/sh
# Writes src/sys/mangled.rs: the C++ symbol of each function in names/functions.h, as g++ makes it.
# Run it after a change there, from anywhere. Needs g++ and nm.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    echo '#include "types.h"'
    echo '#define TS(result, name, parameters) result name parameters { __builtin_trap(); }'
    echo '#include "functions.h"'
} > "$work/functions.cc"
g++ -std=c++17 -w -c -I "$here" -o "$work/functions.o" "$work/functions.cc"
nm --defined-only --format=posix "$work/functions.o" | awk '$2 == "T" { print $1 }' > "$work/symbols"
{
    echo '//! C++ symbols of the plugin interface, written by `names/regenerate.sh`; do not edit.'
    echo
    echo '/// Plain name and C++ symbol.'
    echo 'pub(crate) const MANGLED: &[(&str, &str)] = &['
    sed -n 's/^TS([^,]*, \([A-Za-z_]*\),.*/\1/p' "$here/functions.h" | while read -r name; do
        symbol=$(grep -x "_Z${#name}${name}.*" "$work/symbols") || { echo "no symbol for $name" >&2; exit 1; }
        echo "    (\"$name\", \"$symbol\"),"
    done
    echo '];'
} > "$work/mangled.rs"
mv "$work/mangled.rs" "$here/../src/sys/mangled.rs"
