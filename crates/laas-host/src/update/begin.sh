#!/bin/sh
# Begins the job in DIRECTORY unless one is at work there or has ended unheard, and says which of these it is.
# argv: DIRECTORY TOOL; the job itself lies in DIRECTORY already.
set -eu
dir=$1 tool=$2
if ! flock -n "$dir/lock" true; then
    echo running
    exit 0
fi
if [ -e "$dir/status" ]; then
    echo ended
    exit 0
fi
rm -f "$dir/begun"
# The lock is held for as long as the job lives, and not by what the job starts for good.
set -- flock -n -o "$dir/lock" sh "$dir/job" "$dir" "$tool"
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    # A name of its own each time, since a unit that failed keeps its name.
    read -r id </proc/sys/kernel/random/uuid
    systemd-run --quiet --unit="laas-update-$id" "$@"
else
    setsid "$@" </dev/null >/dev/null 2>&1 &
fi
tries=100
until [ -s "$dir/begun" ]; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
        echo "the job does not begin" >&2
        exit 1
    fi
    sleep 0.1
done
echo begun
