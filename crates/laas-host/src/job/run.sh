#!/bin/sh
# What every job begins with, under its lock.
# argv: DIRECTORY UNIT IDENTITY [ARGUMENT…]
dir=$1 unit=$2 identity=$3
shift 3
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
# By this its children are known, wherever they went.
export LAAS_JOB="$unit"
umask 022
[ ! -e "$dir/log" ] || mv -f "$dir/log" "$dir/log.before"
exec </dev/null >"$dir/log" 2>&1
rm -f "$dir/stopped"
printf '%s\n' "$identity" >"$dir/identity"
printf '%s\n' "$unit" >"$dir/unit"
cat /proc/sys/kernel/random/boot_id >"$dir/boot"
echo begun >"$dir/begun"
exec sh "$dir/job" "$dir" "$@"
