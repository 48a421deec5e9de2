#!/bin/sh
# Begins the job in DIRECTORY unless one is at work there or has ended unheard. Says which of these it is, and on a
# second line whose job that is.
# argv: DIRECTORY UNIT IDENTITY [ARGUMENT…]; `run` and `job` lie in DIRECTORY already.
set -eu
dir=$1 unit=$2
shift 2
if ! flock -n "$dir/lock" true; then
    echo running
    cat "$dir/identity"
    exit 0
fi
if [ -e "$dir/status" ]; then
    echo ended
    cat "$dir/identity"
    exit 0
fi
rm -f "$dir/begun"
# A name of its own each time, since a unit that failed keeps its name.
read -r id </proc/sys/kernel/random/uuid
unit=$unit-$id
# The lock is held for as long as the job lives, and not by what the job starts for good.
set -- flock -n -o "$dir/lock" sh "$dir/run" "$dir" "$unit" "$@"
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemd-run --quiet --unit="$unit" "$@"
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
