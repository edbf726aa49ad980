#!/usr/bin/env bash
# Installs what the demo, the tests and the filters need beyond Rust, from Debian's packages.
#
# usage: tests/setup/install.sh [ats] [c] [test] [bench] [cpp-wasm] [rust-wasm] [npm] [vscode]
#
# Asks apt only for what is missing; with everything there it says nothing and takes no time.
# Traffic Server's own service is not started by the installation: a policy-rc.d that forbids it is
# put in place for that time, unless the system has one already.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

packages_of() {
    case $1 in
    ats) echo trafficserver ;;
    c) echo gcc libc6-dev ;;
    test) echo trafficserver curl openssl linux-perf lldb-22 "$(packages_of cpp-wasm)" ;;
    bench) echo trafficserver wrk gcc libc6-dev valgrind linux-perf strace time "$(packages_of cpp-wasm)" ;;
    cpp-wasm) echo clang-19 lld-19 wasi-libc libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32 ;;
    rust-wasm) echo rustc-web cargo-web rust-web-src lld-19 wasi-libc ;;
    npm) echo npm ;;
    vscode) echo chromium npm g++ make python3 pkg-config libkrb5-dev ;;
    *) die "unknown set $1: ats, c, test, bench, cpp-wasm, rust-wasm, npm or vscode" ;;
    esac
}

# What a package is good for: a program or file that counts as the package being there, so that a
# system that has it from elsewhere is left alone.
is_there() {
    case $1 in
    trafficserver) command -v traffic_server ;;
    clang-19) command -v clang++-19 ;;
    lld-19) command -v wasm-ld-19 ;;
    curl | openssl | wrk | gcc | valgrind | strace | chromium | npm | g++ | make | python3) command -v "$1" ;;
    linux-perf) command -v perf ;;
    time) [ -x /usr/bin/time ] ;; # the shell has one of its own
    lldb-22) command -v lldb-22 ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' ;;
    esac >/dev/null 2>&1
}

missing=()
for set in "${@:-ats}"; do
    for package in $(packages_of "$set"); do
        is_there "$package" || [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null ||
    die "missing: ${missing[*]}. This script installs Debian packages only; install these by hand"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "missing: ${missing[*]}. Run as root: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
    say "installing needs root: sudo may ask for your password"
fi

# POLICY_RC_D is for the test of this script.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
own_policy=no
cleanup() {
    if [ $own_policy = yes ]; then
        "${as_root[@]}" rm -f "$policy"
        say "removed $policy again"
    fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
if [[ " ${missing[*]} " == *" trafficserver "* ]] && [ ! -e "$policy" ]; then
    own_policy=yes
    printf '#!/bin/sh\n# wasmdbg: no service is started while Traffic Server is installed\nexit 101\n' |
        "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    say "Debian's own Traffic Server service is not started by this installation ($policy, for this time only)"
fi

say "installing from Debian's packages: ${missing[*]}"
log=$(mktemp)
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
if ! apt install -y --no-install-recommends "${missing[@]}"; then
    # The lists may be older than the archive, or absent on a new machine.
    say "once more with fresh package lists"
    if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; }; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        say "could not install: ${missing[*]}"
        die "check the network and apt's sources, or install them by hand: apt-get install --no-install-recommends ${missing[*]}"
    fi
fi
rm -f "$log"

# A service that ran before stays as it was; one that this installation brought must not come up at
# the next boot either, without the owner's will.
if [[ " ${missing[*]} " == *" trafficserver "* ]] && [ -d /run/systemd/system ]; then
    "${as_root[@]}" systemctl disable trafficserver >/dev/null 2>&1 &&
        say "the trafficserver service is disabled; \`systemctl enable --now trafficserver\` starts it if you want it"
fi
exit 0
