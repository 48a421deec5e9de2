#!/bin/sh
# Says how far the job in DIRECTORY is, on a second line whose it is, and then the end of its log.
# The lock first: once it is free the status does not come any more.
# argv: DIRECTORY
dir=$1
if [ ! -e "$dir/identity" ]; then
    echo none
    exit 0
fi
if ! flock -n "$dir/lock" true; then
    echo running
# One that is being stopped may leave a status in its last moment, which is about to be removed.
elif [ -e "$dir/stopped" ]; then
    echo stopped
elif [ -e "$dir/status" ]; then
    echo ended
elif [ "$(cat "$dir/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
    echo died
else
    echo rebooted
fi
cat "$dir/identity"
tail -c 8000 "$dir/log"
