#!/bin/bash
# A booking on one machine, from the dashboard to two usable hosts, with every outside system on loopback.
# usage: ./demo.sh [--json] [--keep]     Debian 12, a Rust toolchain, root or a user with sudo
set -euo pipefail
cd "$(dirname "$0")"

command -v cargo >/dev/null || { echo "a Rust toolchain is missing: see https://rustup.rs" >&2; exit 2; }
scripts/debian-packages.sh gcc libc6-dev pkg-config libssl-dev zlib1g-dev openssl slapd ldap-utils openssh-server \
    openssh-client ipmitool openipmi bubblewrap netplan.io

echo "building (a few minutes the first time)" >&2
# As the tests are built: optimising every executable as a whole would take a newcomer a quarter of an hour.
scripts/stage-pack.sh dev
cargo build --quiet --locked -p laas-engine -p laas-lab
demo=("${CARGO_TARGET_DIR:-target}/debug/laas-lab" demo --pack "$PWD" "$@")
if [ "$(id -u)" = 0 ]; then exec "${demo[@]}"; else exec sudo "${demo[@]}"; fi
