#!/bin/sh
# Looks at the agent of a host, starts it, or takes it away.
# argv: state|start|left|remove DIRECTORY UNIT [LENGTH]; to start, stdin holds the secret as a line, and LENGTH bytes of a
# unit.
verb=$1 dir=$2 unit=$3 length=$4
units=/etc/systemd/system
# What a run that was killed has begun here goes on without it: nobody else may be in between.
exec 9>/run/laas-jenkins.lock
flock 9

booted() { [ -d /run/systemd/system ]; }

property() { systemctl show --property="$1" "$unit" | sed -n "s/^$1=//p"; }

# All that run by its files or in its directory, also what got out of the service. The pattern is in nobody's arguments.
processes() {
    {
        # shellcheck disable=SC2062 # The pattern comes from stdin.
        printf '%s\n' "$dir/" | grep -Fslz -f - /proc/[0-9]*/cmdline
        find /proc/[0-9]* -maxdepth 1 -name cwd -lname "$dir/*" 2>/dev/null
    } | cut -d/ -f3 | sort -u
}

# What there is of it, a line each.
left() {
    for path in "$units/$unit" "$units"/*.wants/"$unit" "$dir"; do
        if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi
    done
    if booted; then
        loaded=$(property LoadState) active=$(property ActiveState)
        [ "$loaded $active" = "not-found inactive" ] || echo "$unit ($loaded, $active)"
    fi
    processes | sed 's/^/process /'
}

# Nothing of an agent is worth the time of a decent end, and one that ignores it would keep us waiting.
stop() {
    if booted; then
        systemctl --no-block stop "$unit" 2>/dev/null
        systemctl kill --signal=KILL "$unit" 2>/dev/null
    fi
    tries=50
    while
        all=$(processes)
        [ -n "$all" ] || { booted && ! property ActiveState | grep -Eqx 'inactive|failed'; }
    do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 0
        for process in $all; do
            kill -s KILL "$process" 2>/dev/null
        done
        sleep 0.1
    done
}

case $verb in
state)
    active=$(property ActiveState) main=$(property MainPID)
    printf '%s\n' "${active:-unknown}" "${main:-0}"
    # What Jenkins' agent says once its controller has let it in; of this process alone.
    journalctl --boot --unit="$unit" --output=cat --quiet "_PID=${main:-0}" | grep -c ': Connected$'
    # What was said before may hold an earlier secret, which nobody would know for one.
    since=$(stat -c %.6Y "$dir/secret") || exit 0
    journalctl --boot --unit="$unit" --output=cat --quiet --lines=50 --since="@$since"
    exit 0
    ;;
start)
    umask 022
    read -r secret
    text=$(cat)
    [ "$(printf '%s\n' "$text" | wc -c)" = "$length" ] || exit 1
    # Until its files are whole it does not run, so that one that runs has these.
    stop
    set -e
    mkdir -p "$dir"
    chmod 0700 "$dir"
    rm -f "$dir/secret"
    (umask 077 && printf %s "$secret" >"$dir/secret")
    printf '%s\n' "$text" >"$dir/unit"
    sync "$dir/secret" "$dir/unit"
    mv -f "$dir/unit" "$units/$unit"
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    systemctl --no-block restart "$unit"
    ;;
remove)
    stop
    rm -rf -- "$units/${unit:?}" "$units"/*.wants/"$unit" "$dir"
    if booted; then
        systemctl daemon-reload
        systemctl reset-failed "$unit" 2>/dev/null
    fi
    left
    ;;
left) left ;;
esac
