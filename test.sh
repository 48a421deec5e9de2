#!/bin/bash
# Everything: the checks of the house, then every test against real daemons on loopback.
# usage: ./test.sh     Debian 12, a Rust toolchain, root or a user with sudo
set -euo pipefail
cd "$(dirname "$0")"

scripts/debian-packages.sh gcc libc6-dev pkg-config libssl-dev zlib1g-dev openssl slapd ldap-utils openssh-server \
    openssh-client git curl systemd ipmitool openipmi bubblewrap netplan.io ifupdown network-manager shellcheck python3-venv procps \
    openvswitch-switch iproute2 iputils-ping isc-dhcp-client dnsmasq-base ethtool

echo "== shell"
shellcheck ./*.sh scripts/*.sh crates/*/src/*/*.sh .ci/run
echo "== format"
cargo fmt --check
echo "== lints"
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
echo "== dependencies"
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check bans licenses sources
else
    echo "cargo-deny is not installed: licences and sources of the dependencies are not checked"
fi
echo "== pack"
cargo xtask check-pack
echo "== tests"
scripts/stage-pack.sh dev
# Hosts of the lab are sandboxes with users of their own, which only root can make.
runner=()
[ "$(id -u)" = 0 ] || runner=(--config "target.'cfg(unix)'.runner = 'sudo --preserve-env'")
cargo "${runner[@]}" test --locked --workspace --no-fail-fast
