#!/bin/sh
# Ends the job in DIRECTORY with all that it started, and says whether there was anything to end.
# argv: DIRECTORY
dir=$1
# Whoever looks meanwhile must not take it for a job that died.
[ -d "$dir" ] && : >"$dir/stopped"
unit=$(cat "$dir/unit" 2>/dev/null) || {
    echo none
    exit 0
}

# The job's processes: those that have its mark, and what these have started, even if that threw the mark away.
processes() {
    marked=$(grep -Fslxz "LAAS_JOB=$unit" /proc/[0-9]*/environ | tr -dc '0-9\n')
    [ -n "$marked" ] || return 0
    ps -e -o pid= -o ppid= | awk -v marked="$marked" '
        BEGIN { count = split(marked, list, "\n"); for (i = 1; i <= count; i++) ours[list[i]] = 1 }
        { parent[$1] = $2 }
        END {
            do {
                found = 0
                for (p in parent) if (!(p in ours) && (parent[p] in ours)) { ours[p] = 1; found = 1 }
            } while (found)
            for (p in ours) if (p in parent) print p
        }'
}

all=$(processes)
if [ -z "$all" ] && flock -n "$dir/lock" true; then
    # It has ended by itself, and that counts.
    if [ -e "$dir/status" ]; then rm -f "$dir/stopped"; fi
    echo none
    exit 0
fi
rm -f "$dir/status"
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
    systemctl kill --signal=TERM "$unit.service" >/dev/null 2>&1
fi
signal=TERM
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for process in $all; do
        kill -s "$signal" "$process" 2>/dev/null
    done
    sleep 0.1
    all=$(processes)
    if [ -z "$all" ] && flock -n "$dir/lock" true; then
        rm -f "$dir/status"
        echo stopped
        exit 0
    fi
    # One second for a decent end.
    case $round in 1?) signal=KILL ;; esac
done
echo "these do not end: $all" >&2
exit 1
