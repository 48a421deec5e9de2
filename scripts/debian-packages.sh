#!/bin/bash
# Installs the Debian packages that are named and missing, without any of their services being started.
# usage: scripts/debian-packages.sh PACKAGE…
set -euo pipefail

missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing, and only root can install them: ${missing[*]}" >&2; exit 2; }
    sudo=(sudo)
fi

# Debian starts a daemon when its package is installed, unless this script exits with 101 (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
saved=
restore() {
    if [ -n "$saved" ]; then "${sudo[@]}" mv "$saved" "$policy"; else "${sudo[@]}" rm -f "$policy"; fi
}
if [ -e "$policy" ]; then
    saved=$policy.laas-saved
    "${sudo[@]}" mv "$policy" "$saved"
fi
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
"${sudo[@]}" chmod 755 "$policy"

echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get -qq update >&2
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2
