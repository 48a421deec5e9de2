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
saved=$policy.laas-saved
ours() { printf '#!/bin/sh\n# Set up by the pack laas while it installs packages.\nexit 101\n'; }
is_ours() { [ -e "$policy" ] && ours | cmp -s - "$policy"; }
restore() {
    if is_ours; then "${sudo[@]}" rm -f "$policy"; fi
    if [ -e "$saved" ]; then "${sudo[@]}" mv -f "$saved" "$policy"; fi
}
# A run that was killed has left ours there, which must not be kept as the user's own.
trap restore EXIT
if [ -e "$policy" ] && ! is_ours; then "${sudo[@]}" mv -f "$policy" "$saved"; fi
ours | "${sudo[@]}" tee "$policy.laas-new" >/dev/null
"${sudo[@]}" chmod 755 "$policy.laas-new"
"${sudo[@]}" mv -f "$policy.laas-new" "$policy"

echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get -qq update >&2
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2
